"""Fields of protobuf's wire format, read from a file without reading what they hold.

Only what a walk over nested messages needs: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import FileIO

__all__ = ["LENGTH_DELIMITED", "VARINT", "Field", "WireFile", "WireFormatError", "header"]

VARINT, _FIXED64, LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_VARINT_BYTES = 10
# A run of small nodes costs one read, and skipping a payload wastes no more than this.
_WINDOW_BYTES = 16 << 10


class WireFormatError(Exception):
    """The bytes are not protobuf, or end too early."""


class Field(NamedTuple):
    """Where one field lies.

    Args:
        number: Field number.
        kind: Wire type.
        start: First byte of the tag.
        body: First byte after tag and length.
        end: First byte after the field.
        value: The number of a varint; 0 for other wire types.
    """

    number: int
    kind: int
    start: int
    body: int
    end: int
    value: int


class WireFile:
    """A file read at any place through one small buffer.

    Args:
        file: Opened for reading, unbuffered.
        size: Its size in bytes.
    """

    def __init__(self, file: FileIO, size: int) -> None:
        self.size = size
        self._file = file
        self._window = b""
        self._base = 0

    def read(self, start: int, end: int) -> bytes:
        """Return the bytes from ``start`` up to ``end``.

        Raises:
            WireFormatError: If the file ends before ``end``.
        """
        if self._base <= start and end <= self._base + len(self._window):
            return self._window[start - self._base : end - self._base]
        self._file.seek(start)
        pieces = []
        while start < end:
            piece = self._file.read(end - start)
            if not piece:
                raise WireFormatError(f"the file ends {end - start} bytes too early")
            pieces.append(piece)
            start += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """Yield the fields of the message between ``start`` and ``end`` in file order.

        Raises:
            WireFormatError: If the bytes are no message, or a field runs past ``end``.
        """
        position = start
        while position < end:
            tag, body = self._varint(position)
            kind, value = tag & 7, 0
            if kind == LENGTH_DELIMITED:
                length, body = self._varint(body)
                after = body + length
            elif kind == VARINT:
                value, after = self._varint(body)
            elif kind == _FIXED32:
                after = body + 4
            elif kind == _FIXED64:
                after = body + 8
            else:
                raise WireFormatError(f"no protobuf field begins at byte {position}")
            if not tag >> 3:
                raise WireFormatError(f"no protobuf field begins at byte {position}")
            if after > end:
                raise WireFormatError(f"the field at byte {position} needs {after - end} bytes more than there are")
            yield Field(tag >> 3, kind, position, body, after, value)
            position = after

    def _varint(self, position: int) -> tuple[int, int]:
        """Return the varint at ``position`` and the position after it."""
        index = position - self._base
        if index < 0 or index + _VARINT_BYTES > len(self._window):
            self._window = self.read(position, max(position, min(position + _WINDOW_BYTES, self.size)))
            self._base, index = position, 0
        window = self._window
        if index < len(window) and window[index] < 0x80:
            return window[index], position + 1
        value = shift = 0
        for byte in window[index : index + _VARINT_BYTES]:
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value, position + shift // 7
        raise WireFormatError(f"the number at byte {position} does not end")


def header(number: int, length: int) -> bytes:
    """Tag and length that stand before a length-delimited field of ``length`` bytes."""
    return _varint_bytes(number << 3 | LENGTH_DELIMITED) + _varint_bytes(length)


def _varint_bytes(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
