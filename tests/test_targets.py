from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from initcheck.reference import Reference, parse_reference
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
        ("missing.py:build", "missing"),
        ("models.py:", "target"),
        ("pkg.models:", "target"),
        ("pkg models:build", "target"),
        ("pkg.models:build(lambda: 0)", "target"),
        ("pkg.models:build[0]", "target"),
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


@pytest.mark.parametrize(
    ("word", "reference"),
    [
        ("pkg.models:build", Reference("", "pkg.models", ("build",))),
        ("models:Zoo.deep", Reference("", "models", ("Zoo", "deep"))),
        ("a b/models.py:build", Reference("a b/models.py", "", ("build",))),
        ("models.py:build()", Reference("models.py", "", ("build",), called=True)),
        ('m:f(-1, [2, (3,)], act="a:b")', Reference("", "m", ("f",), (-1, [2, (3,)]), {"act": "a:b"}, called=True)),
        ("C:\\models.py:build", Reference("C:\\models.py", "", ("build",))),
        ("C:/models.py", None),
        ("model.onnx", None),
    ],
)
def test_import_strings(word: str, reference: Reference | None) -> None:
    assert parse_reference(word) == reference


def test_files_of_import_strings_are_looked_for_in_the_given_folder(tree: Path) -> None:
    (tree / "deep" / "models.py").touch()
    (target,) = find_targets(["models.py:build"], app_dir="deep")
    assert isinstance(target, Target)
    assert (target.name, target.path, target.source) == ("models.py:build", None, "torch")


def test_targets_of_one_file_are_several_and_one_named_twice_is_one(tree: Path) -> None:
    (tree / "models.py").touch()
    assert _names("models.py:a", "models.py:b", "models.py:a(1)", "models.py:a") == [
        "models.py:a",
        "models.py:b",
        "models.py:a(1)",
    ]


def test_archives_are_models_too(tree: Path) -> None:
    (tree / "empty" / "net.pt2").touch()
    (target,) = find_targets(["empty"])
    assert isinstance(target, Target)
    assert (target.name, target.source) == ("empty/net.pt2", "torch")
