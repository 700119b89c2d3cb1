"""PyTorch targets through the command line; what a factory may do wrong costs its own verdict and no other."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import torch
from foreign_models import MODELS, placed

from initcheck import Settings, check

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Run


def test_every_form_of_an_import_string(folder: Path, run: Callable[..., Run]) -> None:
    words = (
        "models:build",
        "models.py:build",
        "./models.py:Net",
        f"{folder}/models.py:net",
        'models.py:build(depth=5, act="tanh")',
        "models.py:build(3, 16)",
        "models.py:with_inputs",
        "models:Zoo.deep",
        "pkg.zoo:fit",
        "pkg/zoo.py:fit",
    )
    result = run(*words, "-f", "json", "--fail-on", "never")
    assert result.code == 0, result.stderr
    models = json.loads(result.stdout)["models"]
    assert [model["target"] for model in models] == list(words)
    assert [model["weighted_layers"] for model in models] == [3, 3, 3, 3, 6, 4, 3, 31, 1, 1]
    assert {model["source"] for model in models} == {"torch"}
    assert models[5]["layers"][0]["width"] == 16
    assert models[6]["assumptions"] == ["inputs: x float32[2, 8, 32] (returned by the factory)"]
    exact = [model["layers"][0]["weight"]["exact"] for model in models]
    assert exact == [True, True, True, False, *[True] * 6]


def test_findings_name_the_line_of_the_layer(folder: Path, run: Callable[..., Run]) -> None:
    result = run("models.py:build(depth=30)", "-f", "concise", "-f", "json=out.json")
    assert result.code == 1
    line = 1 + MODELS.splitlines().index("        self.first = nn.Linear(width, width)")
    assert result.stdout.startswith(f"models.py:{line}: error INI101 ")
    finding = json.loads((folder / "out.json").read_text(encoding="utf-8"))["findings"][0]
    assert finding["location"] == {"file": "models.py", "line": line, "confidence": "exact"}


def test_how_a_model_was_read_is_told(folder: Path, run: Callable[..., Run]) -> None:
    result = run("models.py:build", "-v", "-f", "json", "--input-shape", "x=4,7,32:float64")
    assert result.code == 0, result.stderr
    assert "note: models.py:build: inputs: x float64[4, 7, 32] (" in result.stderr
    assert "note: models.py:build: traced by torch.export" in result.stderr
    assert json.loads(result.stdout)["models"][0]["notes"] == ["traced by torch.export"]


def test_app_dir_comes_first_on_the_path(
    folder: Path, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "pkg")
    assert run("models:build", "--app-dir", "..").code == 0
    assert run("models.py:build", "--app-dir", str(folder)).code == 0
    result = run("models:build")
    assert result.code == 2
    assert "no module named 'models'" in result.stderr
    assert "--app-dir" in result.stderr


@pytest.mark.slow
def test_a_file_named_as_a_module_of_python_is_the_users_for_the_user_only(
    folder: Path, run: Callable[..., Run]
) -> None:
    (folder / "statistics.py").write_text(MODELS, encoding="utf-8")
    (folder / "random.py").write_text("raise SystemError('not meant')\n", encoding="utf-8")
    script = folder / "pkg" / "initcheck.py"
    script.write_text(
        "import sys; del sys.path[0]; from initcheck.cli import main\nif __name__ == '__main__': sys.exit(main())\n",
        encoding="utf-8",
    )
    command = [sys.executable, str(script), "statistics.py:build"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (result.returncode, result.stdout) == (0, ""), result.stderr


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("wrong.py:raises", "the factory raised ValueError: bad depth (wrong.py:<raise ValueError>); "),
        ("wrong.py:leaves", "the factory raised SystemExit: no GPU (wrong.py:<sys.exit>); "),
        ("wrong.py:interrupts", "the factory raised KeyboardInterrupt (wrong.py:<raise KeyboardInterrupt>); "),
        ("wrong.py:none", "the factory returned a NoneType, not a torch.nn.Module"),
        ("wrong.py:mapping", "the factory returned a dict, not a torch.nn.Module"),
        ("wrong.py:kind", "the factory returned a type, not a torch.nn.Module"),
        ("wrong.py:needs", "needs(): missing a required argument: 'depth'; write literal arguments: wrong.py:needs("),
        ("wrong.py:needs(1, high=2)", "needs(): missing a required argument: 'width'"),
        ("wrong.py:forward_fails", "NameError: name 'undefined' is not defined (wrong.py:<+ undefined>)"),
        ("wrong.py:god", "wrong.py has no god; did you mean good?"),
        ("models.py:WIDTH", "WIDTH is of type int, neither a factory nor a torch.nn.Module"),
        ("models.py:net(1)", "net is a module already, not a factory"),
        ("models.py:build(depth=1+WIDTH)", "argument 1 + WIDTH is not a literal"),
        ("models.py:build(**{})", "** is not supported"),
        ("models.py:build)", "'build)' after the colon is not a name or a call"),
        ("models.py:", "'' after the colon is not a name or a call"),
        ("models.py:f()()", "is not a name or a call of one"),
        ("no such:build", "'no such' before the colon is neither a module nor a .py file"),
        ("missing.py:build", "no such file: missing.py"),
        ("models.py", "a Python file may hold many models; name the factory or class: models.py:build"),
        ("models", "no such file or directory; write models:NAME"),
        ("unfinished.py:build", "import of unfinished.py failed: SyntaxError: '(' was never closed (unfinished.py:2)"),
        ("imports.py:build", "import of imports.py failed: ImportError: cannot import name 'Nothing' from 'torch.nn'"),
        ("lacks.py:build", "import of lacks.py failed: ModuleNotFoundError: No module named 'nowhere' (lacks.py:1)"),
        ("leaves.py:build", "import of leaves.py failed: SystemExit: 0 (leaves.py:1)"),
        ("nowhere.models:build", "no module named 'nowhere'"),
        ("damaged.pt2", "not a torch.export archive"),
    ],
)
def test_one_line_says_what_is_wrong(folder: Path, run: Callable[..., Run], word: str, message: str) -> None:
    (folder / "unfinished.py").write_text("import torch\nbuild = (\n", encoding="utf-8")
    (folder / "imports.py").write_text("from torch.nn import Nothing\n", encoding="utf-8")
    (folder / "lacks.py").write_text("import nowhere\n", encoding="utf-8")
    (folder / "leaves.py").write_text("raise SystemExit(0)\n", encoding="utf-8")
    (folder / "damaged.pt2").write_bytes(b"PK\x03\x04 no archive")
    result = run(word, "-q")
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {word}: ")
    assert placed(message) in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_traceback_comes_with_v(folder: Path, run: Callable[..., Run]) -> None:
    assert 'raise ValueError("bad' in run("wrong.py:raises", "-qv").stderr


def test_an_archive(folder: Path, run: Callable[..., Run]) -> None:
    torch.manual_seed(0)
    layers = [layer for _ in range(20) for layer in (torch.nn.Linear(48, 48), torch.nn.ReLU())]
    program = torch.export.export(torch.nn.Sequential(*layers).train(), (torch.zeros(2, 48),), strict=False)
    torch.export.save(program, "net.pt2")
    result = run(".", "-f", "json")
    assert result.code == 1, result.stderr
    report = json.loads(result.stdout)
    (model,) = report["models"]
    assert (model["target"], model["source"], model["weighted_layers"]) == ("net.pt2", "torch", 20)
    assert model["layers"][0]["path"] == "0"
    assert [finding["code"] for finding in report["findings"]] == ["INI101"]
    assert "more than may be loaded" in run("net.pt2", "--max-memory", "1KB").stderr


def test_an_unused_parameter_is_a_note_at_its_line(folder: Path, run: Callable[..., Run]) -> None:
    source = MODELS.replace(
        "WIDTH = 32",
        "class More(Net):\n    def __init__(self):\n        super().__init__()\n        self.spare = nn.Linear(3, 3)\n",
    )
    (folder / "models.py").write_text(source, encoding="utf-8")
    result = run("models.py:More", "-f", "concise")
    assert result.code == 0
    line = 1 + source.splitlines().index("        self.spare = nn.Linear(3, 3)")
    assert f"models.py:{line}: note INI904 2 parameters have no part in the output: spare" in result.stdout


def test_without_torch_the_error_says_what_to_install(
    folder: Path, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("initcheck.pipeline.find_spec", lambda name: None)
    result = run("models.py:build", "-q")
    assert result.code == 2
    assert 'pip install "initcheck[torch]"' in result.stderr
    assert result.stderr.count("\n") == 1


def test_an_element_type_is_no_option_of_a_file(bad: Path, run: Callable[..., Run]) -> None:
    result = run(bad, "--input-shape", "input=8,64:float16", "-q")
    assert result.code == 2
    assert "an ONNX file states its own" in result.stderr


def test_from_python(folder: Path) -> None:
    report = check("models.py:build(depth=30)", Settings(jobs=1))
    assert [item.finding.code for item in report.findings] == ["INI101"]
