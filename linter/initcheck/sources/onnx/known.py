"""Tensors whose elements stand in the file: weights and constants, and views of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from initcheck.sources.onnx.tensor import TensorRef

__all__ = ["FOLD_LIMIT", "Array", "Known", "Origin", "known_array", "known_tensor", "reshaped_axes"]

Array = npt.NDArray[Any]

FOLD_LIMIT = 16 << 20
"""Bytes up to which a tensor is read to compute with; a larger weight is only looked through."""

_FLOATS = ("float", "bfloat")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the elements of a learned tensor come from.

    Attributes:
        name: Name of the stored tensor, or of the value that was computed from weights.
        ref: The stored tensor; None when it was computed.
        shape: Its shape.
        dtype: Its element type.
        array: The computed elements; None when they are stored.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    ref: TensorRef | None = None
    array: Array | None = None

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Known:
    """A tensor whose elements are known without running the model.

    Reading is put off until somebody computes with it: a weight that is only transposed and multiplied stays in the
    file.

    Attributes:
        shape: Shape of the view.
        dtype: Element type as the graph has it here (after casts).
        load: Reads the elements, in the view's shape.
        origin: The learned tensor this is a view of; None for a constant.
        axes: For each axis the stored axis it runs along, None where axes were split or joined.
        scale: Factor on the stored elements.
        is_filled: Whether it is one number throughout, which takes no memory however many elements there are.
    """

    shape: tuple[int, ...]
    dtype: str
    load: Callable[[], Array]
    origin: Origin | None = None
    axes: tuple[int | None, ...] = ()
    scale: float = 1.0
    is_filled: bool = False

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether its elements are real numbers."""
        return self.dtype.startswith(_FLOATS)

    @property
    def is_small(self) -> bool:
        """Whether it may be read to compute with."""
        return self.size * 4 <= FOLD_LIMIT

    def array(self) -> Array:
        """The elements, in the view's shape."""
        return self.load()

    def scalar(self) -> float | None:
        """Its only element as a number, None when it has several."""
        return float(self.array().reshape(())) if self.size == 1 and self.dtype != "string" else None

    def stored_axis(self, axis: int) -> int | None:
        """The stored axis that ``axis`` of the view runs along."""
        return self.axes[axis] if self.axes else None

    def transposed(self, permutation: Sequence[int]) -> Known:
        """The view with its axes in another order."""
        load = self.load
        return replace(
            self,
            shape=tuple(self.shape[axis] for axis in permutation),
            axes=tuple(self.axes[axis] for axis in permutation) if self.axes else (),
            load=lambda: load().transpose(permutation),
        )

    def reshaped(self, shape: Sequence[int]) -> Known:
        """The view with the same elements in another shape."""
        load, target = self.load, tuple(shape)
        return replace(
            self,
            shape=target,
            axes=reshaped_axes(self.shape, target, self.axes),
            load=lambda: load().reshape(target),
        )

    def expanded(self, shape: Sequence[int]) -> Known:
        """The view repeated along axes of size one."""
        load, target = self.load, tuple(shape)
        added = len(target) - len(self.shape)
        return replace(
            self,
            shape=target,
            axes=(None,) * added + self.axes if self.axes else (),
            load=lambda: np.broadcast_to(load(), target),
        )

    def cast(self, dtype: str) -> Known:
        """The view with another element type; widening to numpy's own types is enough for what is computed here."""
        load, native = self.load, "float32" if dtype.startswith(("bfloat", "float8", "float4")) else dtype
        return replace(self, dtype=dtype, load=lambda: load().astype(native))

    def scaled(self, factor: float) -> Known:
        """The view with every element multiplied by a number."""
        load = self.load
        return replace(self, scale=self.scale * factor, load=lambda: load() * np.asarray(factor, load().dtype))


def known_array(array: Array, learned_as: str = "") -> Known:
    """A computed tensor: a constant, or (with a name) something computed from weights, which is a weight itself."""
    dtype = str(array.dtype) if array.dtype.kind != "O" else "string"
    filled = not any(array.strides)
    if not learned_as:
        return Known(array.shape, dtype, lambda: array, is_filled=filled)
    origin = Origin(learned_as, array.shape, dtype, array=array)
    return Known(array.shape, dtype, lambda: array, origin, tuple(range(array.ndim)), is_filled=filled)


def known_tensor(ref: TensorRef, *, learned: bool) -> Known:
    """A stored tensor."""
    if not learned:
        return Known(ref.shape, ref.dtype, ref.load)
    origin = Origin(ref.name, ref.shape, ref.dtype, ref=ref)
    return Known(ref.shape, ref.dtype, ref.load, origin, tuple(range(len(ref.shape))))


def reshaped_axes(before: Sequence[int], after: Sequence[int], axes: Sequence[int | None]) -> tuple[int | None, ...]:
    """Which stored axis each axis runs along once the shape ``before`` was reshaped to ``after``.

    Both shapes are cut into the shortest stretches of equal product; an axis survives where it is alone (but for ones)
    on both sides of its stretch.
    """
    if not axes:
        return ()
    kept: list[int | None] = [None] * len(after)
    for left, right in _stretches(before, after):
        sources = [axis for axis in left if before[axis] != 1]
        targets = [axis for axis in right if after[axis] != 1]
        if len(sources) == 1 and len(targets) == 1:
            kept[targets[0]] = axes[sources[0]]
    return tuple(kept)


def _stretches(before: Sequence[int], after: Sequence[int]) -> Iterable[tuple[list[int], list[int]]]:
    i = j = 0
    while i < len(before) and j < len(after):
        left, right = [i], [j]
        product, other = before[i], after[j]
        i, j = i + 1, j + 1
        while product != other:
            if product < other and i < len(before):
                product *= before[i]
                left.append(i)
                i += 1
            elif j < len(after):
                other *= after[j]
                right.append(j)
                j += 1
            else:
                return
        yield left, right
