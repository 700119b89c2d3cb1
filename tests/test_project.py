"""What the project's own files promise each other."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import requires, version
from pathlib import Path

import onnx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_command

import initcheck
from initcheck.cli import app, main

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_ci_runs_the_tests_as_the_readme_tells() -> None:
    command = "pip install -c constraints.txt -e '.[test]' && pytest"
    assert f"\n{command}\n" in README
    assert f'bash -c "{command}"\n' in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_the_version_is_one() -> None:
    assert version("initcheck") == initcheck.__version__
    assert f"## {initcheck.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_every_requirement_is_pinned_to_a_version_it_allows() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    wanted = [Requirement(line) for line in requires("initcheck") or ()]
    for requirement in wanted:
        if requirement.name != "initcheck":
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_the_readme_names_only_options_that_exist() -> None:
    check = get_command(app).commands["check"]  # type: ignore[attr-defined]
    known = {name for parameter in check.params for name in parameter.opts if name.startswith("--")}
    named = {word for line in re.findall(r"initcheck [^\n`]*", README) for word in re.findall(r"--[a-z-]+", line)}
    assert named <= known | {"--help"}


@pytest.mark.parametrize("target", ["examples/mlp_pytorch_default.onnx", "examples/models.py:build"])
def test_the_runs_in_the_readme_are_real_ones(
    target: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    assert main([target, "-f", "rich"]) == 1
    shown = capsys.readouterr()
    assert f"$ initcheck {target}\n{shown.out}{shown.err}```" in README


def test_the_examples_are_what_their_script_makes(tmp_path: Path) -> None:
    script = tmp_path / "make_mlp.py"
    script.write_bytes((ROOT / "examples" / "make_mlp.py").read_bytes())
    subprocess.run([sys.executable, str(script)], check=True, capture_output=True)
    made = sorted(path.name for path in tmp_path.glob("*.onnx"))
    assert made == sorted(path.name for path in (ROOT / "examples").glob("*.onnx"))
    for name in made:
        # Versions of onnx may write the same model with other bytes.
        ours, theirs = onnx.load(tmp_path / name), onnx.load(ROOT / "examples" / name)
        assert ours.graph == theirs.graph
