"""PyTorch targets through the command line; what a factory may do wrong costs its own verdict and no other."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import torch
from terminals import COMMAND, environment

from initcheck import Settings, check
from initcheck.workers import SERVER_ENVIRONMENT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Run

MODELS = """\
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, depth=2, width=32, act="relu"):
        super().__init__()
        self.first = nn.Linear(width, width)
        self.act = {"relu": nn.ReLU, "tanh": nn.Tanh}[act]()
        self.rest = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, x):
        x = self.first(x)
        for layer in self.rest:
            x = layer(self.act(x))
        return x


def build(depth=2, width=32, act="relu"):
    return Net(depth, width, act)


def with_inputs():
    return Net(), {"x": torch.zeros(2, 8, 32)}


class Zoo:
    deep = staticmethod(lambda: Net(30))


net = Net()
WIDTH = 32
"""

WRONG = """\
import contextlib, os, random, signal, sys, threading, time, warnings

import numpy
import torch
from torch import nn


def good():
    return nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4))

def raises():
    def inner():
        raise ValueError("bad\\n depth")
    nn.Sequential(nn.Linear(4, 4))
    inner()

def leaves():
    sys.exit("no GPU")

def interrupts():
    raise KeyboardInterrupt

def none():
    pass

def mapping():
    return {"model": good()}

def kind():
    return nn.Linear

def needs(depth, *, width):
    return good()

def loops():
    open(f"{os.getpid()}.pid", "x").close()
    while True:
        time.sleep(0.01)

def ends():
    os._exit(3)

def segfaults():
    os.kill(os.getpid(), signal.SIGSEGV)

def allocates():
    return nn.Linear(len(numpy.ones(1 << 30)), 4)


def allocates_tensor():
    return nn.Linear(len(torch.ones(1 << 31).tolist()), 4)

def forward_fails():
    class Broken(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(32, 32)

        def forward(self, x):
            return self.fc(x) + undefined
    return Broken()

def prints():
    for _ in range(20000):
        print("x" * 50)
    os.write(1, b"raw")
    return good()

def warns():
    warnings.warn("careless")
    return good()

def spawns():
    threading.Thread(target=time.sleep, args=(600,)).start()
    return good()

def forks():
    if os.fork() == 0:
        time.sleep(600)
    return good()

def changes():
    os.chdir("/")
    sys.path.clear()
    os.environ.clear()
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(1), random.seed(1), numpy.random.seed(1)
    nn.Linear.forward = None
    nn.init.kaiming_uniform_ = None
    sys.modules["torch"] = None
    return nn.Sequential(nn.Embedding(5, 32), nn.Flatten())
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "models.py").write_text(MODELS, encoding="utf-8")
    (tmp_path / "wrong.py").write_text(WRONG, encoding="utf-8")
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    (tmp_path / "pkg" / "parts.py").write_text("from torch.nn import Linear\n", encoding="utf-8")
    (tmp_path / "pkg" / "zoo.py").write_text(
        "from .parts import Linear\nfit = lambda: Linear(32, 4)\n", encoding="utf-8"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lint(*arguments: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, whose standard streams the workers share."""
    command = [*COMMAND, *arguments, "--jobs", "1"]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=timeout, check=False)


def placed(message: str) -> str:
    """The message with the number of the line of ``WRONG`` that holds each ``<text>``."""

    def number(match: re.Match[str]) -> str:
        (found,) = (at for at, line in enumerate(WRONG.splitlines(), 1) if match[1] in line)
        return str(found)

    return re.sub(r"<(.*?)>", number, message)


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def first_error(text: str) -> str:
    return next(line for line in text.splitlines() if line.startswith("error: "))


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


@dataclass(frozen=True)
class Crash:
    """A factory that takes its process with it."""

    word: str
    message: str
    options: tuple[str, ...] = ()


CRASHES = (
    Crash(
        "wrong.py:loops",
        "no verdict within 2 s, last seen at wrong.py:<time.sleep(0.01)>; --timeout",
        ("--timeout", "2"),
    ),
    Crash("wrong.py:ends", "the model's code ended the process (exit code 3); "),
    Crash("wrong.py:segfaults", "the model's code crashed the process (SIGSEGV); "),
    Crash("wrong.py:allocates", "MemoryError: Unable to allocate 8.00 GiB", ("--max-memory", "100MB")),
    Crash("wrong.py:allocates_tensor", "; --max-memory allows more", ("--max-memory", "100MB")),
)


@pytest.mark.parametrize("crash", CRASHES, ids=lambda crash: crash.word.partition(":")[2])
def test_a_crash_costs_one_verdict_only(folder: Path, run: Callable[..., Run], crash: Crash) -> None:
    result = run(crash.word, "wrong.py:good", "models.py:build(depth=30)", "-f", "json", *crash.options)
    report = json.loads(result.stdout)
    assert result.code == 2
    assert first_error(result.stderr).startswith(f"error: {crash.word}: ")
    assert placed(crash.message) in first_error(result.stderr)
    assert [model["status"] for model in report["models"]] == ["failed", "ok", "ok"]
    assert [finding["target"] for finding in report["findings"]] == ["models.py:build(depth=30)"]


def test_what_foreign_code_writes_and_leaves_behind_does_not_disturb_the_report(folder: Path) -> None:
    words = [f"wrong.py:{name}" for name in ("prints", "warns", "spawns", "forks")]
    result = lint(*words, "-f", "json", timeout=60.0)
    assert result.returncode == 0, result.stderr[-500:]
    assert [model["status"] for model in json.loads(result.stdout)["models"]] == ["ok"] * 4
    assert "xxxx" in result.stderr
    assert "raw" in result.stderr
    assert "careless" not in result.stderr


@pytest.mark.slow
def test_warnings_are_shown_where_asked_for(folder: Path) -> None:
    assert "careless" in lint("wrong.py:warns", "-v").stderr


def test_one_target_cannot_spoil_the_next(folder: Path, run: Callable[..., Run]) -> None:
    alone = json.loads(run("models.py:build", "wrong.py:good", "-f", "json").stdout)
    after = json.loads(run("wrong.py:changes", "models.py:build", "wrong.py:good", "-f", "json", "--jobs", "1").stdout)
    assert after["models"][1:] == alone["models"]
    assert after["models"][0]["target"] == "wrong.py:changes"


def test_the_same_input_gives_the_same_bytes(folder: Path, run: Callable[..., Run]) -> None:
    words = ("models.py:build(depth=30)", "models.py:net", "models.py:Net", "-f", "json")
    assert run(*words, "--jobs", "1").stdout == run(*words, "--jobs", "3").stdout


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


@pytest.mark.slow
def test_a_script_without_a_guard_is_told_so(folder: Path) -> None:
    script = "import initcheck\nprint(initcheck.check('models.py:build').errors)\n"
    (folder / "script.py").write_text(script, encoding="utf-8")
    done = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, timeout=120, check=False)
    assert "__main__" in done.stdout


def test_from_python(folder: Path) -> None:
    report = check("models.py:build(depth=30)", Settings(jobs=1))
    assert [item.finding.code for item in report.findings] == ["INI101"]


def test_an_interrupt_ends_the_workers(folder: Path) -> None:
    command = [*COMMAND, "wrong.py:loops", "wrong.py:loops()", "--jobs", "2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        deadline = time.monotonic() + 60
        while len(list(folder.glob("*.pid"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, text = process.communicate(timeout=30)
    assert (process.returncode, text) == (130, "interrupted\n")
    workers = [int(path.stem) for path in folder.glob("*.pid")]
    assert len(workers) == 2
    assert not any(map(is_running, workers))


@pytest.mark.slow
def test_workers_end_with_a_parent_that_was_killed(folder: Path) -> None:
    with subprocess.Popen([*COMMAND, "wrong.py:loops"], env=environment()) as process:
        deadline = time.monotonic() + 60
        while not list(folder.glob("*.pid")) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill()
    (worker,) = (int(path.stem) for path in folder.glob("*.pid"))
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)


@pytest.mark.slow
def test_where_forking_is_unsafe_each_worker_imports_torch_itself(
    folder: Path, run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("initcheck.workers._context", lambda: multiprocessing.get_context("spawn"))
    result = run("models.py:build", "wrong.py:ends", "-f", "json")
    assert [model["status"] for model in json.loads(result.stdout)["models"]] == ["ok", "failed"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_server_that_is_forked_has_one_thread() -> None:
    script = (
        "import importlib\nfrom initcheck.workers import PRELOADED\n"
        "for name in PRELOADED: importlib.import_module(name)\n"
        "print([line for line in open('/proc/self/status') if line.startswith('Threads')][0].split()[1])"
    )
    command = [sys.executable, "-c", script]
    threads = subprocess.run(command, capture_output=True, text=True, check=True, env=environment(**SERVER_ENVIRONMENT))
    assert threads.stdout.strip() == "1"
