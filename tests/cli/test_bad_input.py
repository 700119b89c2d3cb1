"""One expected exit code for each bad input; the reader's own tests look closer at what each message says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_models import WIDTH, external, model, weight

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import onnx
    from conftest import Run

SIZE = 4 * WIDTH * WIDTH
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12345\n"


def _save(path: Path, made: onnx.ModelProto) -> None:
    path.write_bytes(made.SerializeToString())


def _dims(*dims: int) -> onnx.TensorProto:
    return TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=bytes(64))


def _symlink(folder: Path) -> None:
    (folder.parent / "outside.bin").write_bytes(bytes(SIZE))
    (folder / "w.bin").symlink_to(folder.parent / "outside.bin")
    _save(folder / "m.onnx", model(weights=[external("w.bin")]))


def _beyond(folder: Path, **place: int) -> None:
    (folder / "w.bin").write_bytes(bytes(SIZE))
    _save(folder / "m.onnx", model(weights=[external("w.bin", **place)]))


def _cycle() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], "fc", transB=1),
        helper.make_node("Add", ["a", "y"], ["b"], "add"),
        helper.make_node("Relu", ["b"], ["y"], "relu"),
    ]
    return model(nodes)


NO_VERDICT: dict[str, Callable[[Path], object]] = {
    "missing file": lambda folder: None,
    "directory without models": lambda folder: (folder / "m.onnx").mkdir(),
    "empty file": lambda folder: (folder / "m.onnx").touch(),
    "truncated protobuf": lambda folder: (folder / "m.onnx").write_bytes(model().SerializeToString()[:-100]),
    "random bytes": lambda folder: (folder / "m.onnx").write_bytes(np.random.default_rng(0).bytes(4096)),
    "text": lambda folder: (folder / "m.onnx").write_text("This is not a model.\n" * 20, encoding="utf-8"),
    "Git-LFS pointer": lambda folder: (folder / "m.onnx").write_text(LFS, encoding="utf-8"),
    "missing external data": lambda folder: _save(folder / "m.onnx", model(weights=[external("w.bin")])),
    "external data above the folder": lambda folder: _save(folder / "m.onnx", model(weights=[external("../w.bin")])),
    "external data at an absolute path": lambda folder: _save(
        folder / "m.onnx", model(weights=[external("/dev/zero")])
    ),
    "external data behind a symlink": _symlink,
    "offset beyond the file": lambda folder: _beyond(folder, offset=SIZE + 1),
    "length beyond the file": lambda folder: _beyond(folder, offset=8, length=SIZE),
    "negative dimension": lambda folder: _save(folder / "m.onnx", model(weights=[_dims(-4, 4)])),
    "overflowing dimensions": lambda folder: _save(folder / "m.onnx", model(weights=[_dims(2**40, 2**40)])),
    "bytes that do not match the shape": lambda folder: _save(folder / "m.onnx", model(weights=[_dims(5, 5)])),
    "cycle": lambda folder: _save(folder / "m.onnx", _cycle()),
    "undefined input": lambda folder: _save(
        folder / "m.onnx", model([helper.make_node("Gemm", ["nowhere", "w"], ["y"], "fc")])
    ),
    "no weighted layer": lambda folder: _save(
        folder / "m.onnx", model([helper.make_node("Relu", ["x"], ["y"], "relu")], [])
    ),
}


@pytest.mark.parametrize("case", NO_VERDICT)
def test_exit_2_with_one_clear_line(case: str, tmp_path: Path, run: Callable[..., Run]) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    NO_VERDICT[case](folder)
    result = run(folder / "m.onnx", "-q")
    assert result.code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {(folder / 'm.onnx').as_posix()}: ")
    assert "; " in line
    assert "internal error" not in line
    assert len(line) < 400


def _unknown_domain() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], "fc", transB=1),
        helper.make_node("Mystery", ["a"], ["b"], "mystery", domain="acme"),
        helper.make_node("Gemm", ["b", "v"], ["y"], "head", transB=1),
    ]
    return model(nodes, [weight(), weight("v")])


def _zero_size() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], "fc", transB=1),
        helper.make_node("Concat", ["a", "none"], ["b"], "concat", axis=1),
        helper.make_node("Gemm", ["b", "v"], ["y"], "head", transB=1),
    ]
    return model(nodes, [weight(), weight("v"), weight("none", (8, 0))])


def _nan() -> onnx.ModelProto:
    return model(weights=[numpy_helper.from_array(np.full((WIDTH, WIDTH), np.nan, np.float32), "w")])


def _out_of_range() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], "fc", transB=1),
        *(helper.make_node("Exp", [x], [y], y) for x, y in (("a", "b"), ("b", "c"), ("c", "d"))),
        helper.make_node("Gemm", ["d", "v"], ["y"], "head", transB=1),
    ]
    return model(nodes, [weight(), weight("v")])


VERDICT: dict[str, tuple[Callable[[], onnx.ModelProto], int, str]] = {
    "healthy": (model, 0, ""),
    "unknown domain operator": (_unknown_domain, 0, ""),
    "opset newer than known": (lambda: model(opset=999), 0, ""),
    "zero-size tensor": (_zero_size, 0, ""),
    "numbers beyond the range of floats": (_out_of_range, 1, "INI106"),
    "all-NaN weights": (_nan, 1, "INI401"),
}


@pytest.mark.parametrize("case", VERDICT)
def test_what_is_unusual_gets_a_verdict(case: str, tmp_path: Path, run: Callable[..., Run]) -> None:
    make, code, finding = VERDICT[case]
    _save(tmp_path / "m.onnx", make())
    result = run(tmp_path / "m.onnx", "-v")
    assert result.code == code, result
    assert finding in result.stdout
    assert "Traceback" not in result.stderr
    assert "Warning" not in result.stderr


def test_an_operation_that_is_not_understood_is_said(tmp_path: Path, run: Callable[..., Run]) -> None:
    _save(tmp_path / "m.onnx", _unknown_domain())
    result = run(tmp_path / "m.onnx")
    assert "INI901" in result.stdout
    assert "Mystery" in result.stdout
    assert run(tmp_path / "m.onnx", "--strict").code == 1


def test_a_graph_without_weights_beside_one_with_weights_is_a_note(tmp_path: Path, run: Callable[..., Run]) -> None:
    _save(tmp_path / "a.onnx", model([helper.make_node("Relu", ["x"], ["y"], "relu")], []))
    _save(tmp_path / "b.onnx", model())
    result = run(tmp_path, "-v")
    assert result.code == 0, result
    assert "a.onnx: no weighted layer" in result.stderr


def test_one_bad_target_does_not_hide_the_findings_in_another(
    tmp_path: Path, run: Callable[..., Run], bad: Path
) -> None:
    (tmp_path / "broken.onnx").touch()
    result = run(tmp_path / "broken.onnx", bad)
    assert result.code == 2
    assert "INI101" in result.stdout
    assert "broken.onnx" in result.stderr
