from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import torch
from small_models import external, model
from terminals import COMMAND, environment, in_terminal

from initcheck.measurement import Plan
from initcheck.pipeline import measure

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Run

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FILE = str(EXAMPLES / "mlp_repaired.onnx")

SLOW = """
import time
import torch
from torch import nn

builds = 0

def late():
    global builds
    builds += 1
    if builds > 3:
        raise OSError("disk full")
    return nn.Linear(32, 4)

def hangs():
    global builds
    builds += 1
    if builds > 2:
        time.sleep(600)
    return nn.Linear(32, 4)

class Forward(nn.Linear):
    def forward(self, x):
        if not x.is_meta and type(x) is torch.Tensor and x.std() > 0:
            raise ValueError("not today")
        return super().forward(x)

def fails():
    return Forward(32, 4)
"""


@pytest.fixture(autouse=True)
def _slow(folder: Path) -> None:
    (folder / "slow.py").write_text(SLOW, encoding="utf-8")


def document(text: str) -> Any:
    schema = json.loads((files("initcheck.reports") / "schema" / "measure-v1.json").read_text(encoding="utf-8"))
    parsed = json.loads(text)
    jsonschema.validate(parsed, schema, cls=jsonschema.Draft202012Validator)
    return parsed


def test_a_factory(folder: Path, run: Callable[..., Run]) -> None:
    command = ("measure", "models.py:build(depth=3)", "--repeats", "3", "--seed", "7")
    result = run(*command, "-f", "json", "-f", "concise=lines.txt", "-f", "rich=page.txt")
    assert result.code == 0, result.stderr
    assert result.stderr == "5 layers measured over 3 initialisations, 0 not as predicted\n"
    (measured,) = document(result.stdout)["models"]
    assert (measured["seeds"], measured["samples"]) == ([7, 8, 9], 32)
    assert [layer["path"] for layer in measured["layers"]][:3] == ["first", "act", "rest.0"]
    first = measured["layers"][0]["log10_mean_square"]
    assert first["measured"] == pytest.approx(first["predicted"], abs=0.05)
    lines = (folder / "lines.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 5
    assert lines[0].startswith("models.py:build(depth=3): first: length -0.4")
    assert "3 initialisations (seeds 7 to 9)" in (folder / "page.txt").read_text(encoding="utf-8")
    # The same input gives the same bytes.
    again = run(*command, "-q", "-f", "json")
    assert (again.stdout, again.stderr) == (result.stdout, "")


def test_a_file(folder: Path, run: Callable[..., Run]) -> None:
    result = run("measure", FILE, "--repeats", "2", "--dim", "batch=8", "-f", "json")
    assert result.code == 0, result.stderr
    (measured,) = document(result.stdout)["models"]
    assert (measured["source"], measured["samples"], measured["initialisations"]) == ("onnx", 8, 2)
    assert len(measured["drawn"]) + len(measured["kept"]) == 42
    for layer in measured["layers"]:
        assert layer["log10_mean_square"]["stored"] is not None
        assert layer["log10_signal"]["measured"] is not None
        assert layer["log10_gradient_mean_square"]["measured"] is None
    assert run("measure", FILE, "--repeats", "2", "--dim", "batch=8", "-f", "json").stdout == result.stdout


def test_a_file_with_external_data(folder: Path, run: Callable[..., Run]) -> None:
    proto = model(weights=[external("w.bin")])
    (folder / "outside.onnx").write_bytes(proto.SerializeToString())
    torch.randn(32, 32).numpy().tofile(folder / "w.bin")
    result = run("measure", "outside.onnx", "--repeats", "2")
    assert result.code == 0, result.stderr
    assert result.stdout.startswith("outside.onnx: fc: length 1.")
    (folder / "w.bin").unlink()
    result = run("measure", "outside.onnx")
    assert (result.code, result.stderr.count("\n")) == (2, 1)
    assert "which is not in '.'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no target given"),
        (["models.py:build", "--repeats", "0"], "nothing is measured without an initialisation"),
        (["models.py:build", "--repeats", "many"], "--repeats: 'many' is not a whole number"),
        (["models.py:build", "--repeats", "10001"], "--repeats: 10001 is more than 10000"),
        (["models.py:build", "--seed", "4294967296"], "--seed: 4294967296 is more than"),
        (["models.py:build", "--device", "tpu"], "--device: 'tpu' is no device; for example cpu, cuda:0, mps"),
        (["models.py:build", "-f", "sarif"], "'sarif' is not one of rich, concise, json"),
        (["models.py:build", "--color", "blue"], "--color: 'blue'"),
        (["models.py:build", "--optimizer", "sgd"], "see initcheck measure --help"),
        (["models.py:build", "models.py:Net"], "see initcheck measure --help"),
        (["missing.onnx"], "no such file or directory"),
        (["models.py"], "name the factory or class: models.py:build"),
        ([str(EXAMPLES)], "measure runs one model, and "),
        ([FILE, "--device", "cuda:0"], "an ONNX file is run on the processor, not on cuda:0; leave --device out"),
        ([FILE, "--dim", "seq=3"], "there is no symbolic dimension 'seq'"),
        ([FILE, "--max-memory", "1KB"], "more than may be loaded"),
    ],
)
def test_one_line_says_what_is_wrong(arguments: list[str], message: str, folder: Path, run: Callable[..., Run]) -> None:
    result = run("measure", *arguments)
    assert (result.code, result.stdout) == (2, "")
    assert message in result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["models.py:build", "--device", "cuda:99"], "there is no device cuda:99 here; there is cpu"),
        (["models.py:build", "--max-memory", "1KB"], "more than may be built for real"),
        (["slow.py:late"], "the factory raised OSError: disk full (slow.py:12) at seed 2"),
        (["slow.py:fails"], "forward raised ValueError: not today (slow.py:25) with float32[2, 32]"),
        (["net.pt2"], "an archive holds one draw of the weights, and no factory that draws others"),
    ],
)
def test_what_goes_wrong_in_the_worker_is_one_line(
    arguments: list[str], message: str, folder: Path, run: Callable[..., Run]
) -> None:
    (folder / "net.pt2").write_bytes(b"PK")
    result = run("measure", *arguments, "-f", "json")
    assert result.code == 2
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    parsed = document(result.stdout)
    assert [entry["status"] for entry in parsed["models"]] == ["failed"]
    assert parsed["errors"][0]["target"] == arguments[0]


def test_a_build_that_hangs_is_stopped(folder: Path, run: Callable[..., Run]) -> None:
    result = run("measure", "slow.py:hangs", "--timeout", "8")
    assert (result.code, result.stdout) == (2, "")
    # How far it comes in that time is the machine's affair.
    assert re.fullmatch(
        r"error: slow\.py:hangs: no measurement within 8 s(, \d+ of 16 done)?(, last seen at slow\.py:\d+)?; "
        r"--timeout allows longer\n",
        result.stderr,
    )


def test_without_onnxruntime_the_error_says_what_to_install(folder: Path) -> None:
    """In a process of its own, where the import is made to fail for its worker as well."""
    (folder / "onnxruntime").mkdir()
    (folder / "sitecustomize.py").write_text(
        "import importlib.util as util\nfind = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'onnxruntime' else find(name, *rest)\n",
        encoding="utf-8",
    )
    path = [str(folder), *(entry for entry in sys.path if entry)]
    done = subprocess.run(
        [*COMMAND, "measure", FILE],
        capture_output=True,
        text=True,
        env=environment(PYTHONPATH=":".join(path)),
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "onnxruntime, which is not installed; install it with pip install onnxruntime" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_terminal_gets_the_table_in_color_and_progress(folder: Path) -> None:
    code, text = in_terminal([*COMMAND, "measure", FILE, "--repeats", "2"], stream="stdout")
    assert code == 0
    assert "\x1b[1m" in text
    assert "measured" in text
    assert "net.0" in text


@pytest.mark.slow
def test_the_progress_bar_counts_initialisations(folder: Path) -> None:
    code, text = in_terminal([*COMMAND, "measure", "slow.py:hangs", "--timeout", "8"], stream="stderr")
    assert code == 2
    assert "1/16" in text
    assert "slow.py:hangs" in text


def test_notes_come_with_v(folder: Path, run: Callable[..., Run]) -> None:
    result = run("measure", FILE, "--repeats", "2", "-v")
    assert f"note: {Path(FILE).as_posix()}: symbolic dimensions taken as batch=32" in result.stderr
    assert "parameters drawn anew from the distributions that they show" in result.stderr
    assert " s CPU)" in result.stderr


def test_from_python(folder: Path) -> None:
    report = measure(FILE, plan=Plan(repeats=2))
    assert report.errors == ()
    assert report.measurement is not None
    assert report.measurement.initialisations == 2
