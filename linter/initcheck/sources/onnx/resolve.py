"""From a TensorProto of the skeleton to a reference to its values."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from onnx import TensorProto

from initcheck.errors import ModelLoadError
from initcheck.sources.onnx.elements import ELEMENTS, Element
from initcheck.sources.onnx.external import embedded_range, external_range
from initcheck.sources.onnx.skeleton import EMBEDDED_OFFSET
from initcheck.sources.onnx.tensor import FileRange, TensorRef

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["dimensions", "resolve"]

# Values of the widest type, 16 bytes, that a signed 64-bit number of bytes can count.
_MAX_SIZE = 2**59
# The limit of numpy 1; numpy 2 allows 64.
_MAX_DIMENSIONS = 32
# Field that holds the values when raw_data does not, and numpy's type of its entries (onnx.proto, TensorProto).
_TYPED: dict[int, tuple[str, str]] = {
    TensorProto.FLOAT: ("float_data", "<f4"),
    TensorProto.COMPLEX64: ("float_data", "<f4"),
    TensorProto.DOUBLE: ("double_data", "<f8"),
    TensorProto.COMPLEX128: ("double_data", "<f8"),
    TensorProto.INT64: ("int64_data", "<i8"),
    TensorProto.UINT32: ("uint64_data", "<u8"),
    TensorProto.UINT64: ("uint64_data", "<u8"),
}
_TYPED_DEFAULT = ("int32_data", "<i4")


def resolve(proto: TensorProto, name: str, path: Path) -> TensorRef:
    """Find the bytes of a tensor and compare them with its shape.

    Args:
        proto: A tensor of the skeleton of ``path``.
        name: What messages and the reference call it.
        path: The model file.

    Raises:
        ModelLoadError: As ``read_model``.
    """
    where = f"{path}: tensor {name!r}"
    shape = dimensions(proto.dims, where)
    if proto.data_type == TensorProto.STRING:
        return TensorRef(name, "string", shape, b"", None)
    if proto.data_type == TensorProto.UNDEFINED or proto.HasField("segment"):
        raise ModelLoadError(
            f"{where} has no element type or is one segment of several",
            "export the model again",
            kind="element-type",
        )
    element = ELEMENTS.get(proto.data_type)
    needed = None if element is None else element.nbytes(math.prod(shape))
    source = _source(proto, element, needed, path, where)
    found = len(source) if isinstance(source, bytes) else source.length
    dtype = f"unknown({proto.data_type})" if element is None else element.name
    if needed is not None and found != needed:
        raise _shape_error(f"{where} has {found} bytes, but {dtype}{list(shape)} needs {needed}")
    return TensorRef(name, dtype, shape, source, element)


def dimensions(dims: Iterable[int], where: str) -> tuple[int, ...]:
    """The shape, checked to be one that numpy can hold if memory allows.

    Raises:
        ModelLoadError: shape, if a dimension is negative, there are too many, or their product overflows.
    """
    shape = tuple(dims)
    if any(length < 0 for length in shape):
        raise _shape_error(f"{where} has dims {list(shape[:_MAX_DIMENSIONS])}, one of them negative")
    if len(shape) > _MAX_DIMENSIONS:
        raise _shape_error(f"{where} has {len(shape)} dimensions, at most {_MAX_DIMENSIONS} can be read")
    # Lengths of zero are left out: a dimension beside them must be sane all the same.
    if math.prod(length for length in shape if length) > _MAX_SIZE:
        raise _shape_error(f"{where} has dims {list(shape)}, whose product overflows")
    return shape


def _source(
    proto: TensorProto, element: Element | None, needed: int | None, path: Path, where: str
) -> FileRange | bytes:
    if proto.data_location != TensorProto.EXTERNAL:
        return proto.raw_data if proto.HasField("raw_data") else _typed_bytes(proto, element)
    entries = {entry.key: entry.value for entry in proto.external_data}
    if not all(isinstance(text, str) for pair in entries.items() for text in pair):
        raise ModelLoadError(
            f"{where} has external data whose entries are no text", "export the model again", kind="external-missing"
        )
    if EMBEDDED_OFFSET in entries:
        return embedded_range(path, entries, where)
    return external_range(path.parent, entries, needed, where)


def _typed_bytes(proto: TensorProto, element: Element | None) -> bytes:
    """Values of the typed field as ``raw_data`` would hold them.

    An entry of int32_data holds the bits of one narrower value, or one byte of packed values: its low bits are kept.
    """
    if element is None:
        return b""
    field, entry = _TYPED.get(proto.data_type, _TYPED_DEFAULT)
    entries = getattr(proto, field)
    values = np.fromiter(entries, entry, count=len(entries))
    if np.dtype(entry).kind == "f":
        return values.tobytes()
    return values.astype(element.raw).tobytes()


def _shape_error(message: str) -> ModelLoadError:
    return ModelLoadError(message, "the file is damaged or was edited by hand; export the model again", kind="shape")
