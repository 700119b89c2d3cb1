"""Files that are no model, or a damaged one: one clear line and a kind for each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, parser

from initcheck.errors import ModelLoadError
from initcheck.sources.onnx.read import read_model
from initcheck.sources.onnx.wire import header

if TYPE_CHECKING:
    from collections.abc import Callable

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:%b\nsize 102502400\n" % (b"0" * 64)


def with_tensor(**fields: object) -> bytes:
    """A model of one Identity whose initialiser ``w`` is a float32[2, 3] but for ``fields``."""
    tensor = {"name": "w", "dims": [2, 3], "data_type": TensorProto.FLOAT, "raw_data": bytes(24)} | fields
    given = TensorProto(**{key: value for key, value in tensor.items() if value is not None})
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [output], [given])
    return helper.make_model(graph).SerializeToString()


def fail(path: Path) -> ModelLoadError:
    with pytest.raises(ModelLoadError) as caught:
        read_model(path)
    assert "\n" not in str(caught.value)
    assert path.name in caught.value.message
    assert caught.value.hint
    return caught.value


VALID = with_tensor()
LARGE = with_tensor(dims=[1000], raw_data=bytes(4000))
BYTES: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "empty", "is empty"),
    "lfs pointer": (POINTER, "lfs-pointer", "lfs: true"),
    "text": (b"import torch\n\nmodel = torch.nn.Linear(3, 4)\n", "text", "is text"),
    "text format": (b'<ir_version: 8, opset_import: ["" : 18]>\ng () => () {}\n', "text", "onnx.save"),
    "text cut inside a character": (("ü" * 300).encode()[:513], "text", "is text"),
    "random bytes": (np.random.default_rng(0).bytes(5000), "damaged", "no ONNX model"),
    "zero bytes": (bytes(5000), "damaged", "byte 0"),
    "zip archive": (b"PK\x03\x04" + bytes(100), "damaged", "PyTorch"),
    "truncated in the graph": (VALID[: len(VALID) // 2], "damaged", "bytes more"),
    "truncated in a large payload": (LARGE[:-2000], "damaged", "bytes more"),
    "group of another protobuf": (b"\x0b\x0c", "damaged", "byte 0"),
    "number without end": (b"\xff" * 11, "damaged", "does not end"),
    "no graph": (onnx.ModelProto(ir_version=8, producer_name="\x01").SerializeToString(), "no-graph", "no graph"),
    "one negative dimension": (with_tensor(dims=[-2, 3]), "shape", "negative"),
    "two negative dimensions": (with_tensor(dims=[-2, -3]), "shape", "negative"),
    "overflowing dimensions": (with_tensor(dims=[2**40, 2**40]), "shape", "overflows"),
    "overflow hidden by a zero": (with_tensor(dims=[0, 2**40, 2**40], raw_data=b""), "shape", "overflows"),
    "dimensions that wrap to the right size": (with_tensor(dims=[2**62, 4, 6], raw_data=b""), "shape", "overflows"),
    "more dimensions than numpy has": (with_tensor(dims=[1] * 100, raw_data=bytes(4)), "shape", "100 dimensions"),
    "too few bytes": (with_tensor(raw_data=bytes(23)), "shape", "23 bytes"),
    "too many bytes": (with_tensor(raw_data=bytes(25)), "shape", "needs 24"),
    "too few large bytes": (with_tensor(dims=[1001], raw_data=bytes(4000)), "shape", "4000 bytes"),
    "no bytes": (with_tensor(raw_data=None), "shape", "0 bytes"),
    "too few typed values": (with_tensor(raw_data=None, float_data=[1.0] * 5), "shape", "20 bytes"),
    "values in the field of another type": (with_tensor(raw_data=None, int64_data=[1] * 6), "shape", "0 bytes"),
    "no element type": (with_tensor(data_type=None), "element-type", "'w'"),
    "segment": (with_tensor(segment=TensorProto.Segment(begin=0, end=6)), "element-type", "segment"),
    "no name": (with_tensor(name=None), "damaged", "no name"),
    "name that is no text": (VALID.replace(b"\x42\x01w", b"\x42\x01\xff"), "damaged", "no text"),
    "metadata that is no text": (VALID + b"\x72\x06\x0a\x01k\x12\x01\xff", "damaged", "no text"),
}


@pytest.mark.parametrize(("content", "kind", "words"), BYTES.values(), ids=BYTES.keys())
def test_bytes_that_are_no_sound_model(tmp_path: Path, content: bytes, kind: str, words: str) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    error = fail(path)
    assert error.kind == kind
    assert words in str(error)


def test_the_model_these_are_made_from_is_sound(tmp_path: Path) -> None:
    for content in (VALID, LARGE):
        (tmp_path / "model.onnx").write_bytes(content)
        assert set(read_model(tmp_path / "model.onnx").tensors) == {"w"}


def test_fields_of_a_later_format_are_passed_over(tmp_path: Path) -> None:
    later = b"\xf1\x01" + bytes(8) + b"\xf5\x01" + bytes(4) + b"\xf0\x01\x07" + b"\xf2\x01\x02ab"
    (tmp_path / "model.onnx").write_bytes(VALID + later)
    assert set(read_model(tmp_path / "model.onnx").tensors) == {"w"}


def test_a_stretch_that_is_no_tensor_is_not_read_without_bound(tmp_path: Path) -> None:
    path, length = tmp_path / "model.onnx", 600 << 20
    with path.open("wb") as file:
        file.write(VALID + header(6, length))
        file.truncate(file.tell() + length)
    assert "no tensor data" in str(fail(path))


def make_nothing(path: Path) -> None:
    assert not path.exists()


def make_loop(path: Path) -> None:
    path.symlink_to(path)


PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (make_nothing, "missing"),
    "directory": (Path.mkdir, "directory"),
    "fifo": (os.mkfifo, "not-a-file"),
    "device": (lambda path: path.symlink_to(os.devnull), "not-a-file"),
    "link to nowhere": (lambda path: path.symlink_to("nowhere"), "missing"),
    "link to itself": (make_loop, "unreadable"),
}


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX file types")
@pytest.mark.parametrize(("make", "kind"), PLACES.values(), ids=PLACES.keys())
def test_paths_that_are_no_readable_file(tmp_path: Path, make: Callable[[Path], object], kind: str) -> None:
    make(tmp_path / "model.onnx")
    assert fail(tmp_path / "model.onnx").kind == kind


def test_a_file_in_a_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert fail(tmp_path / "file" / "model.onnx").kind == "missing"


def test_a_path_with_a_zero_byte_is_missing() -> None:
    with pytest.raises(ModelLoadError, match="no file name") as caught:
        read_model(Path("model\0.onnx"))
    assert caught.value.kind == "missing"


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(VALID)

    def deny(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    # The superuser reads a file of mode 000 all the same.
    monkeypatch.setattr(Path, "open", deny)
    error = fail(path)
    assert error.kind == "unreadable"
    assert "Permission denied" in str(error)


def test_two_tensors_of_one_name(tmp_path: Path) -> None:
    model = onnx.load_from_string(VALID)
    model.graph.initializer.append(model.graph.initializer[0])
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert "two tensors are named 'w'" in str(fail(tmp_path / "model.onnx"))


def test_negative_dimension_of_a_sparse_initialiser(tmp_path: Path) -> None:
    model = onnx.load_from_string(VALID)
    sparse = model.graph.sparse_initializer.add(dims=[-1, 3])
    sparse.values.CopyFrom(model.graph.initializer[0])
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert fail(tmp_path / "model.onnx").kind == "shape"


def test_subgraphs_nested_without_end(tmp_path: Path) -> None:
    model = parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> g (bool b) => (float y) {y = Cast<to = 1>(b)}')
    for _ in range(120):
        outer = onnx.GraphProto(name="g")
        outer.node.add(op_type="If", doc_string=" " * 20_000).attribute.add(name="then_branch").g.CopyFrom(model.graph)
        model.graph.CopyFrom(outer)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())
    assert "deep" in str(fail(tmp_path / "model.onnx"))


def test_a_tensor_beyond_the_limit_is_not_loaded(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(LARGE)
    ref = read_model(tmp_path / "model.onnx").tensors["w"]
    assert ref.load(4000).shape == (1000,)
    with pytest.raises(ModelLoadError, match="too large") as caught:
        ref.load(3999)
    assert caught.value.kind == "too-large"


def test_values_of_strings_are_refused(tmp_path: Path) -> None:
    content = with_tensor(dims=[1], data_type=TensorProto.STRING, raw_data=None, string_data=[b"a"])
    (tmp_path / "model.onnx").write_bytes(content)
    ref = read_model(tmp_path / "model.onnx").tensors["w"]
    for use in (ref.load, lambda: next(iter(ref.blocks()))):
        with pytest.raises(ModelLoadError, match="string") as caught:
            use()
        assert caught.value.kind == "element-type"


def test_a_file_cut_after_it_was_read(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(LARGE)
    ref = read_model(path).tensors["w"]
    path.write_bytes(LARGE[:2000])
    with pytest.raises(ModelLoadError, match="ends too early") as caught:
        ref.load()
    assert caught.value.kind == "unreadable"
