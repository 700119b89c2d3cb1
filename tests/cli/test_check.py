from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema
import pytest
from terminals import COMMAND, environment, in_terminal

import initcheck

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Run
    from syrupy.assertion import SnapshotAssertion


@pytest.fixture(autouse=True)
def _beside_the_examples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES)


EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
BAD, GOOD = "mlp_pytorch_default.onnx", "mlp_repaired.onnx"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ([GOOD], 0),
        ([BAD], 1),
        (["check", BAD], 1),
        (["."], 1),
        ([BAD, GOOD], 1),
        (["mlp_*.onnx"], 1),
        (["-q", BAD], 1),
        (["--format", "json", BAD], 1),
        ([BAD, "--fail-on", "never"], 0),
        ([BAD, "--ignore", "ALL"], 0),
        ([BAD, "--select", "INI4"], 0),
        ([BAD, "--severity", "INI101=warning"], 0),
        ([BAD, "--severity", "vanishing-signal=warning", "--fail-on", "warning"], 1),
        ([BAD, "--severity", "INI101=off"], 0),
        ([BAD, "--assume-init", "kaiming_normal"], 0),
        ([GOOD, "--assume-init", "pytorch_default", "--optimizer", "sgd"], 1),
        ([GOOD, "--dtype", "float16"], 0),
        ([GOOD, "--dim", "batch=4"], 0),
        ([GOOD, "--input-shape", "x=4,48"], 0),
        (["--help"], 0),
        (["-h"], 0),
        (["-V"], 0),
        ([], 2),
        (["missing.onnx"], 2),
        (["missing.onnx", BAD], 2),
        (["pkg.models:build"], 2),
        ([BAD, "--no-such-option"], 2),
        ([BAD, "--format", "xml"], 2),
        ([BAD, "--format", "json", "--format", "rich"], 2),
        ([BAD, "--format", "json=/no/such/folder/out.json"], 2),
        ([BAD, "--select", "INI999"], 2),
        ([BAD, "--severity", "INI101"], 2),
        ([BAD, "--fail-on", "fatal"], 2),
        ([BAD, "--optimizer", "lion"], 2),
        ([BAD, "--dtype", "float8"], 2),
        ([BAD, "--color", "blue"], 2),
        ([BAD, "--assume-init", "no_such_scheme"], 2),
        ([BAD, "--dim", "batch"], 2),
        ([BAD, "--input-shape", "x"], 2),
        (["rule", "INI101"], 0),
        (["rule", "no-such-rule"], 2),
    ],
)
def test_exit_codes(arguments: list[str], code: int, run: Callable[..., Run]) -> None:
    result = run(*arguments)
    assert result.code == code, result
    assert "Traceback" not in result.stderr
    if code == 2:
        lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        assert "internal error" not in lines[0]


def test_concise(run: Callable[..., Run], snapshot: SnapshotAssertion) -> None:
    result = run(BAD, "-f", "concise")
    assert result.stdout == snapshot
    assert result.stderr == "1 model, 1 error, 0 warnings, 0 notes\n"


@pytest.mark.parametrize("columns", ["60", "100"])
def test_rich(
    columns: str, run: Callable[..., Run], snapshot: SnapshotAssertion, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    text = run(".", "-f", "rich").stdout
    assert max(map(len, text.splitlines())) <= int(columns)
    assert text == snapshot


def test_json_obeys_its_schema_and_is_the_same_twice(run: Callable[..., Run]) -> None:
    text = run(".", "-f", "json").stdout
    schema = json.loads((files("initcheck.reports") / "schema" / "report-v1.json").read_text(encoding="utf-8"))
    document = json.loads(text)
    jsonschema.validate(document, schema, cls=jsonschema.Draft202012Validator)
    assert [model["verdict"] for model in document["models"]] == ["error", "ok"]
    assert len(document["models"][0]["layers"]) >= 21
    assert run(".", "-f", "json").stdout == text


def test_formats_to_files(run: Callable[..., Run], tmp_path: Path) -> None:
    result = run(BAD, "-f", "concise", "-f", f"json={tmp_path / 'r.json'}", "-f", f"rich={tmp_path / 'r.txt'}")
    assert result.code == 1
    assert result.stdout.count("\n") == 1
    assert json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))["version"] == 1
    assert "\x1b" not in (tmp_path / "r.txt").read_text(encoding="utf-8")
    assert run(BAD, "-f", f"json={tmp_path / 'r.json'}").stdout == ""


def test_a_file_that_cannot_be_written_does_not_lose_the_findings(run: Callable[..., Run]) -> None:
    result = run(BAD, "-f", "json=/no/such/folder/out.json", "-f", "concise")
    assert result.code == 2
    assert "INI101" in result.stdout
    assert "cannot write" in result.stderr


def test_verbose_adds_cause_help_and_timing(run: Callable[..., Run]) -> None:
    result = run(BAD, "-v")
    assert "    cause: " in result.stdout
    assert "    help:  " in result.stdout
    assert "s CPU)" in result.stderr


def test_quiet_prints_findings_only(run: Callable[..., Run]) -> None:
    result = run(BAD, "-q")
    assert result.stdout
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("environment", "option", "colored"),
    [
        ({}, "auto", False),
        ({"FORCE_COLOR": "1"}, "auto", True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, "auto", False),
        ({"FORCE_COLOR": "", "NO_COLOR": ""}, "auto", False),
        ({"NO_COLOR": "1"}, "always", True),
        ({"FORCE_COLOR": "1"}, "never", False),
    ],
)
@pytest.mark.parametrize("name", ["concise", "rich"])
def test_color(
    name: str,
    environment: dict[str, str],
    option: str,
    colored: bool,
    run: Callable[..., Run],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert ("\x1b[" in run(BAD, "-f", name, "--color", option).stdout) is colored


def test_json_has_no_color(run: Callable[..., Run]) -> None:
    assert "\x1b" not in run(BAD, "-f", "json", "--color", "always").stdout


def test_an_unexpected_exception_in_one_target_is_an_error_of_that_target(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("first\nsecond")

    monkeypatch.setattr("initcheck.examine.Analysis", explode)
    result = run(BAD, "-q")
    assert result.code == 2
    assert result.stderr.startswith(f"error: {BAD}: internal error: RuntimeError: first second; ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" in run(BAD, "-qv").stderr


def test_an_unexpected_exception_anywhere_exits_2_and_an_interrupt_130(
    run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def raiser(error: BaseException) -> Callable[..., None]:
        def explode(*_: object, **__: object) -> None:
            raise error

        return explode

    monkeypatch.setattr("initcheck.pipeline.find_targets", raiser(RuntimeError("boom")))
    result = run(BAD)
    assert (result.code, result.stderr.count("\n")) == (2, 1)
    assert "Traceback" in run(BAD, "-v").stderr
    monkeypatch.setattr("initcheck.pipeline.find_targets", raiser(KeyboardInterrupt()))
    result = run(BAD)
    assert (result.code, result.stderr) == (130, "interrupted\n")


def test_the_function_gives_what_the_command_line_shows(bad: Path) -> None:
    report = initcheck.check(bad)
    assert [item.finding.code for item in report.findings] == ["INI101"]
    assert report.verdict(bad.as_posix()) == "error"
    assert report.errors == ()


def test_a_reader_that_goes_away_is_no_error() -> None:
    process = subprocess.Popen(
        [*COMMAND, BAD, "-f", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), text=True
    )
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 1
    assert errors == "1 model, 1 error, 0 warnings, 0 notes\n"


def test_a_locale_without_block_characters_gets_ascii() -> None:
    ascii_only = environment(PYTHONIOENCODING="ascii")
    for name in ("rich", "concise"):
        done = subprocess.run([*COMMAND, BAD, "-f", name, "-v"], capture_output=True, env=ascii_only, check=False)
        assert done.returncode == 1
        assert done.stdout.isascii()
        assert b"Traceback" not in done.stderr
    done = subprocess.run([*COMMAND, BAD, "-f", "json"], capture_output=True, env=ascii_only, check=False)
    assert json.loads(done.stdout.decode("utf-8"))["version"] == 1


def test_a_terminal_gets_the_rich_report_in_color() -> None:
    code, text = in_terminal([*COMMAND, BAD], stream="stdout")
    assert code == 1
    assert "\x1b[1;31merror" in text
    assert "weighted layers analysed" in text


@pytest.mark.parametrize(
    ("words", "expected"), [("initcheck ru", "rule"), ("initcheck m.onnx --strict --sel", "--select")]
)
def test_completion_knows_commands_and_the_options_of_the_default_one(words: str, expected: str) -> None:
    place = str(words.count(" "))
    asked = environment(_INITCHECK_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=place)
    code = "from initcheck.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=asked, check=False)
    assert done.stdout.split() == [expected]
