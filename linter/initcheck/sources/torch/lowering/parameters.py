"""Parameters that nodes read, with the law of each once all its uses are known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from initcheck.distribution import Distribution, Family
from initcheck.estimate import estimate
from initcheck.graph import Parameter
from initcheck.naming import name_scheme

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.graph import RowFacts
    from initcheck.sources.torch.built import RecordedTensor
    from initcheck.sources.torch.lowering.known import View

__all__ = ["ParameterTable", "Role"]

VALUES_LIMIT = 65536
"""Elements up to which a parameter keeps its values."""


@dataclass(frozen=True, slots=True)
class Role:
    """How a node uses a parameter.

    Attributes:
        out_axis: Stored axis of output units, None if unknown.
        fans: (fan_in, fan_out) as its initialiser counted; None to count by shape.
        groups: Groups of a convolution.
    """

    out_axis: int | None = None
    fans: tuple[float, float] | None = None
    groups: int = 1


@dataclass(frozen=True, slots=True)
class _Entry:
    view: View
    shape: tuple[int, ...]
    role: Role


class ParameterTable:
    """Collects uses, then builds the parameters.

    Args:
        recorded: What is known of each parameter and buffer.
    """

    def __init__(self, recorded: Mapping[str, RecordedTensor]) -> None:
        self._recorded = recorded
        self._entries: dict[str, _Entry] = {}
        self._computed: dict[str, Distribution | None] = {}

    def use(self, view: View, role: Role | None = None, *, keep_shape: bool = False) -> str:
        """Register a use; the first that gives a role decides.

        Args:
            view: View of the parameter.
            role: How it is used, None when the use tells nothing (an operand of an addition).
            keep_shape: Whether the view's shape matters to the reader, as it does for broadcasting.

        Returns:
            The key under which ``Graph.parameters`` will hold it.
        """
        shape = view.shape if keep_shape or view.part else view.stored
        key = view.key
        if shape != view.stored and not (view.part and not keep_shape):
            key += str(list(shape)).replace(" ", "")
        entry = self._entries.get(key)
        if entry is None:
            self._entries[key] = _Entry(view, shape, role or Role())
        elif role is not None and entry.role == Role():
            self._entries[key] = replace(entry, role=role)
        return key

    def describe(self, key: str, name: str, fans: tuple[float, float] | None) -> None:
        """Give a parameter without a role the fans of the layer that it turned out to belong to."""
        del name
        entry = self._entries[key]
        if entry.role == Role():
            self._entries[key] = replace(entry, role=Role(fans=fans))

    def shape(self, key: str) -> tuple[int, ...] | None:
        """Shape of a parameter, None if there is none of this name."""
        entry = self._entries.get(key)
        return entry.shape if entry is not None else None

    def is_filled_with(self, key: str, number: float) -> bool:
        """Whether every element of a parameter is this number."""
        entry = self._entries.get(key)
        law = self.law(entry.view) if entry is not None else None
        return law is not None and law.is_constant and law.mean == number

    def is_known(self, view: View) -> bool:
        """Whether the law of a view's elements is known."""
        return self.law(view) is not None

    def law(self, view: View) -> Distribution | None:
        """Law of a view's elements, None where it is not known."""
        if not view.computed:
            record = self._recorded.get(view.origin)
            law = record.distribution if record is not None else None
            return None if law is None else _adapted(law, view)
        if view.key not in self._computed:
            loaded = view.load()
            self._computed[view.key] = None if loaded is None else _estimated(loaded, Role())[0]
        return self._computed[view.key]

    def build(self, wanted: set[str]) -> dict[str, Parameter]:
        """The wanted parameters, in order of first use."""
        return {key: self._build(entry) for key, entry in self._entries.items() if key in wanted}

    def _build(self, entry: _Entry) -> Parameter:
        view, role = entry.view, entry.role
        record = self._recorded.get(view.origin) if not view.computed else None
        rows: RowFacts | None = None
        law: Distribution | None
        if view.computed:
            loaded = view.load()
            law, rows = (None, None) if loaded is None else _estimated(loaded, role)
        else:
            law = self.law(view)
            whole = record is not None and not view.part and role.out_axis == 0
            rows = record.rows if record is not None and whole else None
        if law is None:
            law = Distribution(Family.UNKNOWN, math.prod(entry.shape), math.nan, math.nan)
        elif law.exact:
            law = _named(law, entry)
        return Parameter(
            name=view.key if view.part or view.computed else view.origin,
            shape=entry.shape,
            dtype=view.dtype,
            distribution=law,
            rows=rows,
            values=_values(entry, law, record),
            history=record.history if record is not None else (),
            content=_content(entry, record),
            written=record is None or record.written or record.awaited,
        )


def _content(entry: _Entry, record: RecordedTensor | None) -> str:
    """Key of the draw that a view shows; tied names are one weight, of which only the first has one."""
    if record is None or record.tied_to or not record.content:
        return ""
    view = entry.view
    return f"{record.content} {view.key.removeprefix(view.origin)} {list(entry.shape)}"


def _adapted(law: Distribution, view: View) -> Distribution:
    """The law of a part or of a multiple of what a law was recorded for."""
    size = view.size
    if size != law.size:
        zeros = size if law.is_zero else 0
        law = replace(law, size=size, zeros=zeros)
    factor, shift = view.scale, view.shift
    if factor == 1.0 and shift == 0.0:
        return law
    bounds = sorted((law.minimum * factor + shift, law.maximum * factor + shift))
    scaled = replace(
        law,
        mean=law.mean * factor + shift,
        zeros=size if law.is_constant and law.mean * factor + shift == 0.0 else 0 if shift else law.zeros,
        variance=law.variance * factor * factor,
        minimum=bounds[0],
        maximum=bounds[1],
        scheme="",
    )
    return replace(scaled, family=Family.UNKNOWN) if law.family in {Family.ORTHOGONAL, Family.IDENTITY} else scaled


def _named(law: Distribution, entry: _Entry) -> Distribution:
    """The law with a name for its scale in terms of the fans, where its recorder could not know them."""
    fans = entry.role.fans
    vector = len(entry.view.stored) < 2
    if law.scheme and not (vector and fans is not None):
        return law
    fan_in, fan_out = fans or (0.0, 0.0)
    name = name_scheme(law, entry.view.stored, fan_in, fan_out)
    return replace(law, scheme=name) if name else law


def _estimated(tensor: torch.Tensor, role: Role) -> tuple[Distribution, RowFacts | None]:
    array = np.ascontiguousarray(tensor.detach().to(torch.float32).numpy())
    return estimate((array,), array.shape, out_axis=role.out_axis, fans=role.fans, groups=role.groups)


def _values(entry: _Entry, law: Distribution, record: RecordedTensor | None) -> np.ndarray | None:
    drawn = record is None or record.values is None
    if math.prod(entry.shape) > VALUES_LIMIT or (law.exact and not law.is_constant and drawn):
        return None
    if law.exact and law.is_constant:
        return np.full(entry.shape, law.mean)
    if record is None or record.values is not None or not law.exact:
        loaded = entry.view.load()
        if loaded is not None and loaded.numel() == math.prod(entry.shape):
            return np.asarray(loaded.detach().to(torch.float64).reshape(entry.shape).numpy())
    return None
