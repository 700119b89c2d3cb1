"""Parameters that nodes read, each read from the file once, when all its uses are known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from initcheck.content import content_key, is_draw
from initcheck.estimate import estimate
from initcheck.graph import Parameter
from initcheck.sources.onnx.paths import is_anonymous
from initcheck.statistics import widen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck.sources.onnx.known import Array, Known, Origin

__all__ = ["ParameterTable", "Role"]

VALUES_LIMIT = 65536
"""Elements up to which a parameter keeps its values."""


@dataclass(frozen=True, slots=True)
class Role:
    """How a node uses a parameter.

    Attributes:
        name: What people call the parameter, empty if its own name says it.
        out_axis: Stored axis of output units, None if unknown.
        fans: (fan_in, fan_out) as its initialiser counted; None to count by shape.
        groups: Groups of a convolution.
    """

    name: str = ""
    out_axis: int | None = None
    fans: tuple[float, float] | None = None
    groups: int = 1


@dataclass(frozen=True, slots=True)
class _Entry:
    known: Known
    origin: Origin
    shape: tuple[int, ...]
    role: Role

    @property
    def scale(self) -> float:
        """Factor on the stored elements."""
        return self.known.scale


class ParameterTable:
    """Collects uses, then builds the parameters."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def use(self, known: Known, role: Role | None = None, *, keep_shape: bool = False) -> str:
        """Register a use of a learned tensor; the first use that gives it a role decides.

        Args:
            known: View of the tensor.
            role: How it is used, None when the use tells nothing (an operand of an addition).
            keep_shape: Whether the view's shape matters to the reader, as it does for broadcasting.

        Returns:
            The key under which ``Graph.parameters`` will hold it.
        """
        origin = known.origin
        if origin is None:
            raise ValueError("a constant is no parameter")
        shape = known.shape if keep_shape else origin.shape
        key = origin.name
        if known.scale != 1.0:
            key += f"*{known.scale:g}"
        if shape != origin.shape:
            key += str(list(shape)).replace(" ", "")
        entry = self._entries.get(key)
        if entry is None:
            self._entries[key] = _Entry(known, origin, shape, role or Role())
        elif role is not None and entry.role == Role():
            self._entries[key] = replace(entry, role=role)
        return key

    def describe(self, key: str, name: str, fans: tuple[float, float] | None) -> None:
        """Give a parameter without a role the name and fans of the layer it turned out to belong to."""
        entry = self._entries[key]
        if entry.role == Role():
            anonymous = is_anonymous(entry.origin.name)
            self._entries[key] = replace(entry, role=Role(name=name if anonymous else "", fans=fans))

    def shape(self, key: str) -> tuple[int, ...] | None:
        """Shape of a parameter, None if there is none of this name."""
        entry = self._entries.get(key)
        return entry.shape if entry is not None else None

    def is_filled_with(self, key: str, number: float) -> bool:
        """Whether every element of a parameter is this number."""
        entry = self._entries.get(key)
        if entry is None or entry.origin.size > VALUES_LIMIT or not _has_values(entry.origin):
            return False
        return bool(np.all(_load(entry.origin) * entry.scale == number))

    def build(self, wanted: set[str]) -> dict[str, Parameter]:
        """Read the wanted parameters, in order of first use."""
        built = {key: _build(entry) for key, entry in self._entries.items() if key in wanted}
        return self._with_content(built)

    def _with_content(self, built: dict[str, Parameter]) -> dict[str, Parameter]:
        """Keys of weights that may be copies of one another: only where all moments agree is a second look needed."""
        alike: dict[tuple[object, ...], list[str]] = {}
        for key, parameter in built.items():
            if is_draw(parameter):
                law = parameter.distribution
                moments = (law.mean, law.variance, law.kurtosis, law.minimum, law.maximum)
                alike.setdefault((parameter.shape, parameter.dtype, *moments), []).append(key)
        suspects = [key for group in alike.values() if len(group) > 1 for key in group]
        contents = {key: content_key(_blocks(self._entries[key])) for key in suspects}
        return {
            key: replace(parameter, content=contents[key]) if key in contents else parameter
            for key, parameter in built.items()
        }


def _build(entry: _Entry) -> Parameter:
    origin, role = entry.origin, entry.role
    distribution, rows = estimate(
        _blocks(entry),
        origin.shape,
        origin.dtype if entry.scale == 1.0 else "",
        out_axis=role.out_axis,
        fans=role.fans,
        groups=role.groups,
    )
    values = None
    if math.prod(entry.shape) <= VALUES_LIMIT and _has_values(origin):
        viewed = entry.shape == entry.known.shape
        values = np.asarray(entry.known.array() if viewed else _load(origin) * entry.scale, np.float64)
    return Parameter(role.name or origin.name, entry.shape, origin.dtype, distribution, rows, values)


def _has_values(origin: Origin) -> bool:
    return origin.array is not None or (origin.ref is not None and origin.ref.element is not None)


def _load(origin: Origin) -> Array:
    if origin.array is not None:
        return origin.array
    if origin.ref is None:
        raise ValueError("neither stored nor computed")
    return origin.ref.load()


def _blocks(entry: _Entry) -> Iterator[Array]:
    origin = entry.origin
    if origin.ref is None or origin.ref.dtype not in _STREAMED:
        for block in _pieces(_load(origin)):
            yield block if entry.scale == 1.0 else block * entry.scale
        return
    for block in origin.ref.blocks():
        yield block if entry.scale == 1.0 else widen(block, origin.dtype) * entry.scale


def _pieces(array: Array) -> Iterator[Array]:
    """An array in storage order; a filled one piece by piece, since it has no storage."""
    if any(array.strides) or not array.size:
        yield array.reshape(-1)
        return
    piece = np.full(min(array.size, 1 << 20), array.flat[0], array.dtype)
    for start in range(0, array.size, len(piece)):
        yield piece[: array.size - start]


_STREAMED = frozenset({"float64", "float32", "float16", "bfloat16"})
