"""A tensor by reference: what it is, and where its bytes lie."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from initcheck.errors import ModelLoadError
from initcheck.sources.onnx.elements import Element, to_native

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["BLOCK_BYTES", "FileRange", "TensorRef"]

BLOCK_BYTES = 8 << 20
"""Size of the read buffer; larger is not faster, and peak memory grows by it."""

_LOAD_LIMIT = 64 << 20


@dataclass(frozen=True, slots=True)
class FileRange:
    """Where bytes lie in a file.

    Args:
        path: The file.
        offset: First byte, counted from the start of the file.
        length: Number of bytes.
    """

    path: Path
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class TensorRef:
    """A tensor whose values are read when they are asked for.

    ``read_model`` has compared the bytes that exist with shape and element type, so that a reference can be trusted.

    Args:
        name: Name of the initialiser, or of the output of the Constant node.
        dtype: ``float32``, ``float16``, ``bfloat16``, ``float64``, ``int64``, ``bool``, ``int4``, ``float8e4m3fn``,
            ...; ``string`` and ``unknown(N)`` (a type number not known here) have no ``element`` and no values.
        shape: Dimensions; empty for a scalar.
        source: A range of a file, or the bytes themselves (small tensors, and values in integer fields).
        element: Layout of the values, ``None`` where there is none to read.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    source: FileRange | bytes = field(repr=False)
    element: Element | None = field(repr=False)

    @property
    def size(self) -> int:
        """Number of elements: the product of the dimensions."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes that the values take in the file."""
        return len(self.source) if isinstance(self.source, bytes) else self.source.length

    def blocks(self, chunk_bytes: int = BLOCK_BYTES) -> Iterator[npt.NDArray[Any]]:
        """Yield all values in order, as one-dimensional blocks of undecoded elements.

        The elements are little-endian and of type ``element.raw``: float16 and bfloat16 arrive as uint16 bit patterns
        (65536 of them: statistics can count instead of convert), bool and float8 as uint8, types below 8 bits as packed
        bytes. Read into one buffer and never mapped, because mapped pages count as resident memory.

        A block is a view of that buffer: valid until the next one is asked for.

        Args:
            chunk_bytes: Upper bound of a block, rounded down to whole elements (at least one).

        Raises:
            ModelLoadError: If the type has no readable values, or the file no longer holds the bytes.
        """
        raw = np.dtype(self._readable().raw)
        if isinstance(self.source, bytes):
            values = np.frombuffer(self.source, raw)
            step = max(1, chunk_bytes // raw.itemsize)
            for start in range(0, len(values), step):
                yield values[start : start + step]
            return
        step = max(raw.itemsize, min(chunk_bytes, self.nbytes) // raw.itemsize * raw.itemsize)
        buffer = np.empty(step, np.uint8)
        for taken in self._read_into(self.source, buffer):
            yield buffer[:taken].view(raw)

    def load(self, limit: int = _LOAD_LIMIT) -> npt.NDArray[Any]:
        """Return the whole tensor, shaped, in a type that numpy itself has (bfloat16 and float8 become float32).

        Args:
            limit: Largest ``nbytes`` that is loaded; weights belong in ``blocks``, this is for shapes, indices, biases.

        Raises:
            ModelLoadError: If the tensor is larger than ``limit``, its type has no readable values, or the file no
                longer holds the bytes.
        """
        element = self._readable()
        if self.nbytes > limit:
            raise ModelLoadError(
                f"tensor {self.name!r} of {self.nbytes} bytes is too large to load at once",
                f"at most {limit} bytes are loaded where the analysis needs single values",
                kind="too-large",
            )
        raw = np.empty(self.nbytes, np.uint8)
        if isinstance(self.source, bytes):
            raw[:] = np.frombuffer(self.source, np.uint8)
        else:
            for _ in self._read_into(self.source, raw):
                pass
        return to_native(element, raw, self.shape)

    def _readable(self) -> Element:
        if self.element is None:
            raise ModelLoadError(
                f"tensor {self.name!r} has element type {self.dtype}, whose values cannot be read",
                "export the model with a numeric element type",
                kind="element-type",
            )
        return self.element

    def _read_into(self, source: FileRange, buffer: npt.NDArray[np.uint8]) -> Iterator[int]:
        """Fill ``buffer`` again and again from the file; yield how many of its bytes are new."""
        view = buffer.data
        left = source.length
        try:
            with source.path.open("rb", buffering=0) as file:
                file.seek(source.offset)
                while left:
                    wanted = min(left, len(view))
                    _read_exactly(file, view[:wanted])
                    left -= wanted
                    yield wanted
        except (OSError, EOFError) as error:
            raise ModelLoadError(
                f"{source.path}: cannot read bytes {source.offset} to {source.offset + source.length} "
                f"of tensor {self.name!r}: {error}",
                "do not change the file while it is checked",
                kind="unreadable",
            ) from error


def _read_exactly(file: Any, view: memoryview) -> None:
    """Fill ``view``; a raw file may return less than it was asked for."""
    filled = 0
    while filled < len(view):
        count = file.readinto(view[filled:])
        if not count:
            raise EOFError("the file ends too early")
        filled += count
