from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from initcheck.report import TargetError
from initcheck.targets import Target, find_targets

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.onnx", "a.onnx", "deep/c.ONNX", ".venv/hidden.onnx", "notes.txt", "state.pt", "odd:name.onnx"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _names(*words: str) -> list[str]:
    found = find_targets(words)
    assert all(isinstance(item, Target) for item in found), found
    return [item.name for item in found if isinstance(item, Target)]


def test_a_directory_stands_for_every_model_below_but_hidden_ones(tree: Path) -> None:
    assert _names(".") == ["a.onnx", "b.onnx", "deep/c.ONNX", "odd:name.onnx"]
    assert _names("deep/") == ["deep/c.ONNX"]


def test_patterns(tree: Path) -> None:
    assert _names("*.onnx") == ["a.onnx", "b.onnx", "odd:name.onnx"]
    assert _names("de*") == ["deep/c.ONNX"]
    assert _names(f"{tree}/[ab].*") == [f"{tree.as_posix()}/a.onnx", f"{tree.as_posix()}/b.onnx"]


def test_a_file_named_twice_is_one_target(tree: Path) -> None:
    (tree / "link.onnx").symlink_to(tree / "a.onnx")
    assert _names("b.onnx", "a.onnx", "./a.onnx", str(tree / "b.onnx"), "link.onnx") == ["b.onnx", "a.onnx"]


def test_an_existing_path_goes_before_an_import_string(tree: Path) -> None:
    assert _names("odd:name.onnx") == ["odd:name.onnx"]


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("missing.onnx", "missing"),
        ("", "missing"),
        ("C:\\models\\missing.onnx", "missing"),
        ("empty", "nothing-matched"),
        ("*.gguf", "nothing-matched"),
        ("*.txt", "nothing-matched"),
        ("pkg.models:build", "unsupported"),
        ("state.pt", "unsupported"),
    ],
)
def test_a_word_without_a_model_is_an_error_with_a_hint(tree: Path, word: str, kind: str) -> None:
    (error,) = find_targets([word])
    assert isinstance(error, TargetError)
    assert error.kind == kind
    assert error.message
    assert error.hint


def test_other_words_go_on(tree: Path) -> None:
    found = find_targets(["missing.onnx", "a.onnx"])
    assert [type(item) for item in found] == [TargetError, Target]
