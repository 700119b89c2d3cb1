"""Values read by reference equal those that onnx itself loads, however they are stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from initcheck.sources.onnx.elements import ELEMENTS
from initcheck.sources.onnx.read import read_model
from initcheck.sources.onnx.tensor import FileRange
from initcheck.sources.onnx.wire import header

if TYPE_CHECKING:
    from pathlib import Path

SHAPE = (7, 2, 51)
NUMERIC = [code for code in ELEMENTS if code in TensorProto.DataType.values()]
BY_NAME = pytest.mark.parametrize("code", NUMERIC, ids=[ELEMENTS[code].name for code in NUMERIC])


def tensor(code: int, shape: tuple[int, ...] = SHAPE) -> TensorProto:
    """Every bit pattern of the type is possible, so that NaN, infinities and signs are met too."""
    element = ELEMENTS[code]
    nbytes = element.nbytes(int(np.prod(shape)))
    raw = np.random.default_rng(code).integers(0, 2 if element.name == "bool" else 256, nbytes, np.uint8)
    return TensorProto(name="w", dims=shape, data_type=code, raw_data=raw.tobytes())


def model(*tensors: TensorProto) -> onnx.ModelProto:
    nodes = [helper.make_node("Identity", [t.name], [f"y_{t.name}"]) for t in tensors]
    outputs = [helper.make_tensor_value_info(f"y_{t.name}", t.data_type, None) for t in tensors]
    return helper.make_model(helper.make_graph(nodes, "g", [], outputs, list(tensors)))


def assert_reads(path: Path, expected: TensorProto) -> None:
    ref = read_model(path).tensors["w"]
    wanted = numpy_helper.to_array(expected)
    values = ref.load()
    assert ref.shape == values.shape == tuple(expected.dims)
    assert ref.size == wanted.size
    assert values.dtype.kind in "biufc"
    np.testing.assert_array_equal(values, wanted.astype(values.dtype))
    for chunk in (1, 24, 1 << 20):
        assert b"".join(block.tobytes() for block in ref.blocks(chunk)) == expected.raw_data


@BY_NAME
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_embedded_raw_data_equals_what_onnx_loads(tmp_path: Path, code: int) -> None:
    onnx.save(model(tensor(code)), tmp_path / "m.onnx")
    assert_reads(tmp_path / "m.onnx", tensor(code))


@BY_NAME
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_external_data_equals_what_onnx_loads(tmp_path: Path, code: int) -> None:
    first = tensor(TensorProto.FLOAT, (300,))
    first.name = "first"
    onnx.save(
        model(first, tensor(code)),
        tmp_path / "m.onnx",
        save_as_external_data=True,
        location="m.data",
        size_threshold=0,
    )
    assert_reads(tmp_path / "m.onnx", tensor(code))
    source = read_model(tmp_path / "m.onnx").tensors["w"].source
    assert isinstance(source, FileRange)
    assert source.offset > 0


TYPED = {
    TensorProto.FLOAT: "float_data",
    TensorProto.COMPLEX64: "float_data",
    TensorProto.DOUBLE: "double_data",
    TensorProto.COMPLEX128: "double_data",
    TensorProto.INT64: "int64_data",
    TensorProto.UINT32: "uint64_data",
    TensorProto.UINT64: "uint64_data",
}


@BY_NAME
@pytest.mark.parametrize("shape", [SHAPE, (3,)], ids=["large", "small"])
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_typed_fields_equal_raw_data(tmp_path: Path, code: int, shape: tuple[int, ...]) -> None:
    raw = tensor(code, shape)
    if code in (TensorProto.FLOAT, TensorProto.COMPLEX64):
        # Python's float has 64 bits: a signalling NaN would become a quiet one on the way into the typed field.
        raw.raw_data = np.arange(len(raw.raw_data) // 4, dtype="<f4").tobytes()
    field = TYPED.get(code, "int32_data")
    entry = {"float_data": "<f4", "double_data": "<f8"}.get(field, ELEMENTS[code].raw)
    typed = TensorProto(name="w", dims=shape, data_type=code)
    getattr(typed, field).extend(np.frombuffer(raw.raw_data, entry).tolist())
    onnx.save(model(typed), tmp_path / "m.onnx")
    assert_reads(tmp_path / "m.onnx", raw)


@pytest.mark.parametrize("pieces", [2, 2000], ids=["two pieces", "one tag for each value"])
def test_values_scattered_over_several_fields_are_joined(tmp_path: Path, pieces: int) -> None:
    values = np.arange(2000, dtype="<f4")
    scattered = TensorProto(name="w", dims=[2000], data_type=TensorProto.FLOAT).SerializeToString()
    for piece in np.split(values, pieces):
        scattered += header(4, piece.nbytes) + piece.tobytes()
    whole = model()
    graph = whole.graph.SerializeToString()
    whole.ClearField("graph")
    graph += header(5, len(scattered)) + scattered
    (tmp_path / "m.onnx").write_bytes(whole.SerializeToString() + header(7, len(graph)) + graph)
    np.testing.assert_array_equal(read_model(tmp_path / "m.onnx").tensors["w"].load(), values)


def test_sixteen_bit_types_arrive_as_bit_patterns(tmp_path: Path) -> None:
    for code in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
        onnx.save(model(tensor(code)), tmp_path / "m.onnx")
        ref = read_model(tmp_path / "m.onnx").tensors["w"]
        assert {block.dtype for block in ref.blocks()} == {np.dtype(np.uint16)}


@pytest.mark.parametrize("shape", [(), (0,), (3, 0, 5), (1,) * 12], ids=str)
@pytest.mark.parametrize("external", [False, True])
def test_scalars_and_empty_tensors(tmp_path: Path, shape: tuple[int, ...], external: bool) -> None:
    onnx.save(
        model(tensor(TensorProto.FLOAT, shape)),
        tmp_path / "m.onnx",
        save_as_external_data=external,
        size_threshold=0,
        location="m.data",
    )
    ref = read_model(tmp_path / "m.onnx").tensors["w"]
    assert ref.load().shape == shape
    assert sum(block.size for block in ref.blocks()) == ref.size


def test_without_length_external_data_takes_what_the_shape_needs(tmp_path: Path) -> None:
    expected = tensor(TensorProto.FLOAT)
    stored = TensorProto()
    stored.CopyFrom(expected)
    external_data_helper.set_external_data(stored, "m.data", offset=5)
    stored.ClearField("raw_data")
    (tmp_path / "m.data").write_bytes(b"12345" + expected.raw_data + b"another tensor")
    (tmp_path / "m.onnx").write_bytes(model(stored).SerializeToString())
    assert_reads(tmp_path / "m.onnx", expected)


def test_strings_have_a_shape_and_no_values(tmp_path: Path) -> None:
    text = TensorProto(name="w", dims=[2], data_type=TensorProto.STRING, string_data=[b"a", b"b"])
    onnx.save(model(text), tmp_path / "m.onnx")
    ref = read_model(tmp_path / "m.onnx").tensors["w"]
    assert (ref.dtype, ref.shape, ref.element) == ("string", (2,), None)


def test_a_type_newer_than_this_version_is_named_by_its_number(tmp_path: Path) -> None:
    future = TensorProto(name="w", dims=[2], data_type=99, raw_data=b"abc")
    (tmp_path / "m.onnx").write_bytes(model(future).SerializeToString())
    ref = read_model(tmp_path / "m.onnx").tensors["w"]
    assert (ref.dtype, ref.nbytes, ref.element) == ("unknown(99)", 3, None)
