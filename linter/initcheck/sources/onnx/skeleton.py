"""An ONNX file without its weights: large payloads stay in the file, everything else is copied.

Field numbers are those of onnx.proto. Messages are copied as byte ranges; only those large enough to hold a payload are
looked into, so that the cost grows with the number of weights and top-level fields, not with the size of the file.
"""

from __future__ import annotations

from enum import Enum, auto
from itertools import islice
from typing import TYPE_CHECKING

from onnx import TensorProto

from initcheck.sources.onnx.wire import LENGTH_DELIMITED, Field, WireFile, WireFormatError, header

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["EMBEDDED_OFFSET", "skeleton"]

EMBEDDED_OFFSET = "embedded_offset"
"""Key in ``external_data`` of a payload that stayed in the model's own file; its value is the place in that file."""

_PAYLOAD_BYTES = 1 << 10
# Exporters write stack traces of several KiB into nodes; looking into each of them would cost more than it saves.
_NODE_BYTES = 16 << 10
_SKELETON_BYTES = 1 << 29
# More fields than this are values with a tag each (not packed), which protobuf turns into an array better than Python.
_TENSOR_FIELDS = 1000
# Protobuf itself parses no deeper.
_DEPTH = 100


class _Message(Enum):
    """Messages that can hold a tensor at some depth."""

    MODEL = auto()
    TRAINING = auto()
    FUNCTION = auto()
    GRAPH = auto()
    NODE = auto()
    ATTRIBUTE = auto()
    SPARSE_TENSOR = auto()
    TENSOR = auto()


_CHILDREN = {
    _Message.MODEL: {7: _Message.GRAPH, 20: _Message.TRAINING, 25: _Message.FUNCTION},
    _Message.TRAINING: {1: _Message.GRAPH, 2: _Message.GRAPH},
    _Message.FUNCTION: {7: _Message.NODE, 11: _Message.ATTRIBUTE},
    _Message.GRAPH: {1: _Message.NODE, 5: _Message.TENSOR, 15: _Message.SPARSE_TENSOR},
    _Message.NODE: {5: _Message.ATTRIBUTE},
    _Message.ATTRIBUTE: {
        5: _Message.TENSOR,
        6: _Message.GRAPH,
        10: _Message.TENSOR,
        11: _Message.GRAPH,
        22: _Message.SPARSE_TENSOR,
        23: _Message.SPARSE_TENSOR,
    },
    _Message.SPARSE_TENSOR: {1: _Message.TENSOR, 2: _Message.TENSOR},
}

_DATA_TYPE, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 2, 9, 13, 14
# Packed floats are little-endian values without gaps, as raw_data is; the integer fields hold varints.
_PACKED = {
    4: {TensorProto.FLOAT, TensorProto.COMPLEX64},
    10: {TensorProto.DOUBLE, TensorProto.COMPLEX128},
}


def skeleton(file: WireFile) -> bytes:
    """Return the serialised model with every large tensor payload replaced by its place in the file.

    Such a tensor says ``data_location = EXTERNAL`` and holds ``EMBEDDED_OFFSET`` and ``length`` in ``external_data``.

    Raises:
        WireFormatError: If the bytes are not protobuf, or hold a stretch of 512 MiB that is no tensor data.
    """
    stripped = _strip(file, 0, file.size, _Message.MODEL, 0)
    return _copy(file, [(0, file.size)]) if stripped is None else stripped


def _strip(file: WireFile, start: int, end: int, message: _Message, depth: int) -> bytes | None:
    """Rewrite one message; ``None`` if nothing in it had to be replaced."""
    if depth > _DEPTH:
        raise WireFormatError(f"the message at byte {start} is nested more than {_DEPTH} deep")
    children = _CHILDREN[message]
    pieces: list[bytes] = []
    copied = start
    for number, kind, begin, body, after, _ in file.fields(start, end):
        child = children.get(number)
        if child is None or kind != LENGTH_DELIMITED or after - body <= _PAYLOAD_BYTES:
            continue
        if child is _Message.NODE and after - body <= _NODE_BYTES:
            continue
        replaced = (
            _strip_tensor(file, body, after)
            if child is _Message.TENSOR
            else _strip(file, body, after, child, depth + 1)
        )
        if replaced is not None:
            pieces += [_copy(file, [(copied, begin)]), header(number, len(replaced)), replaced]
            copied = after
    if not pieces:
        return None
    return b"".join([*pieces, _copy(file, [(copied, end)])])


def _strip_tensor(file: WireFile, start: int, end: int) -> bytes | None:
    """Rewrite one TensorProto; ``None`` if its payload is small, scattered, or lies in integer fields."""
    fields = list(islice(file.fields(start, end), _TENSOR_FIELDS + 1))
    if len(fields) > _TENSOR_FIELDS:
        return None
    data_type = _last_value(fields, _DATA_TYPE)
    if _last_value(fields, _DATA_LOCATION) == TensorProto.EXTERNAL:
        # The standard forbids raw_data here; readers ignore it, and so is it dropped.
        return _copy(file, [(f.start, f.end) for f in fields if f.number != _RAW_DATA])
    payload = _payload(fields, data_type)
    if payload is None:
        return None
    place = TensorProto(data_location=TensorProto.EXTERNAL)
    place.external_data.add(key=EMBEDDED_OFFSET, value=str(payload.body))
    place.external_data.add(key="length", value=str(payload.end - payload.body))
    dropped = {payload.number, _EXTERNAL_DATA, _DATA_LOCATION}
    kept = _copy(file, [(f.start, f.end) for f in fields if f.number not in dropped])
    encoded: bytes = place.SerializeToString()
    return kept + encoded


def _payload(fields: list[Field], data_type: int) -> Field | None:
    """The one field that holds all values as little-endian bytes, if it is large."""
    raw = [field for field in fields if field.number == _RAW_DATA]
    found = raw[-1:] or [field for field in fields if data_type in _PACKED.get(field.number, ())]
    # Values scattered over several fields are rare and small: protobuf joins them.
    if len(found) != 1 or found[0].kind != LENGTH_DELIMITED or found[0].end - found[0].body <= _PAYLOAD_BYTES:
        return None
    return found[0]


def _last_value(fields: list[Field], number: int) -> int:
    """Protobuf lets the last of several values count."""
    return next((field.value for field in reversed(fields) if field.number == number), 0)


def _copy(file: WireFile, ranges: Iterable[tuple[int, int]]) -> bytes:
    pieces = []
    for start, end in ranges:
        if end - start > _SKELETON_BYTES:
            raise WireFormatError(f"{end - start} bytes from byte {start} on are no tensor data")
        pieces.append(file.read(start, end))
    return b"".join(pieces)
