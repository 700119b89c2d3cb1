"""Element types of ONNX tensors and how their values lie in bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["ELEMENTS", "Element", "to_native"]


@dataclass(frozen=True, slots=True)
class Element:
    """One element type.

    Args:
        name: What people call it: ``float32``, ``bfloat16``, ``int4``, ``float8e4m3fn``.
        code: Its number in ``TensorProto.DataType``.
        bits: Width of one value; types below 8 bits are packed, the first value in the low bits.
        raw: Little-endian numpy type of the undecoded bytes, ``|u1`` where values are packed.
    """

    name: str
    code: int
    bits: int
    raw: str

    def nbytes(self, size: int) -> int:
        """Bytes that ``size`` values take, the last byte padded."""
        return (size * self.bits + 7) // 8


# Names and numbers of onnx.proto's TensorProto.DataType, written out because older onnx packages lack the last ones.
_TABLE = (
    ("float32", 1, 32, "<f4"),
    ("uint8", 2, 8, "|u1"),
    ("int8", 3, 8, "|i1"),
    ("uint16", 4, 16, "<u2"),
    ("int16", 5, 16, "<i2"),
    ("int32", 6, 32, "<i4"),
    ("int64", 7, 64, "<i8"),
    ("bool", 9, 8, "|u1"),
    ("float16", 10, 16, "<u2"),
    ("float64", 11, 64, "<f8"),
    ("uint32", 12, 32, "<u4"),
    ("uint64", 13, 64, "<u8"),
    ("complex64", 14, 64, "<c8"),
    ("complex128", 15, 128, "<c16"),
    ("bfloat16", 16, 16, "<u2"),
    ("float8e4m3fn", 17, 8, "|u1"),
    ("float8e4m3fnuz", 18, 8, "|u1"),
    ("float8e5m2", 19, 8, "|u1"),
    ("float8e5m2fnuz", 20, 8, "|u1"),
    ("uint4", 21, 4, "|u1"),
    ("int4", 22, 4, "|u1"),
    ("float4e2m1", 23, 4, "|u1"),
    ("float8e8m0", 24, 8, "|u1"),
    ("uint2", 25, 2, "|u1"),
    ("int2", 26, 2, "|u1"),
)

ELEMENTS = {code: Element(name, code, bits, raw) for name, code, bits, raw in _TABLE}
"""Element types with a known layout, by their number in ``TensorProto.DataType``; strings have none."""


def to_native(element: Element, raw: npt.NDArray[np.uint8], shape: Sequence[int]) -> npt.NDArray[Any]:
    """Decode the bytes of a whole tensor to a type that numpy itself has.

    bfloat16, the float8 and float4 types become float32, int4/int2 int8 and uint4/uint2 uint8: all exact.
    """
    if element.name == "bfloat16":
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if element.name == "float16":
        return raw.view("<f2").astype(np.float16, copy=False).reshape(shape)
    if element.name == "bool":
        return raw.astype(np.bool_).reshape(shape)
    if element.code < TensorProto.FLOAT8E4M3FN:
        native = np.dtype(element.raw).newbyteorder("=")
        return raw.view(element.raw).astype(native, copy=False).reshape(shape)
    proto = TensorProto(data_type=element.code, dims=shape, raw_data=raw.tobytes())
    target = {"u": np.uint8, "i": np.int8, "f": np.float32}[element.name[0]]
    return numpy_helper.to_array(proto).astype(target)
