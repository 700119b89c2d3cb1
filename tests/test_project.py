"""What the project's own files promise each other."""

from __future__ import annotations

import re
from importlib.metadata import requires, version
from pathlib import Path

import initcheck

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
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    wanted = [Requirement(line) for line in requires("initcheck") or ()]
    for requirement in wanted:
        if requirement.name != "initcheck":
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_the_readme_names_every_option_that_exists_and_no_other() -> None:
    from initcheck.cli import app
    from typer.main import get_command

    check = get_command(app).commands["check"]  # type: ignore[attr-defined]
    known = {name for parameter in check.params for name in parameter.opts if name.startswith("--")}
    named = {word for line in re.findall(r"initcheck [^\n`]*", README) for word in re.findall(r"--[a-z-]+", line)}
    assert named <= known
