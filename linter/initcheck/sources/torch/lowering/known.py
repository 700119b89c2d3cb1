"""What a name of the trace stands for before any layer reads it: an activation, a view of a parameter, a constant."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck.graph import Value

__all__ = ["Activation", "Gate", "Known", "View", "root_view"]


@dataclass(frozen=True, slots=True)
class Activation:
    """A value that depends on the input, by its name in the graph."""

    name: str


@dataclass(frozen=True, slots=True)
class View:
    """A parameter, part of one, or something computed from parameters alone.

    Attributes:
        origin: Name of the parameter; that of the computed value where ``computed``.
        layout: Meta tensor that is the same view of a contiguous one of the stored shape: its strides tell which axis
            went where.
        stored: Stored shape.
        dtype: numpy's name of the element type.
        load: Makes the elements in the view's shape, in float64 or float32; None where nobody can say.
        scale: Factor on the stored elements.
        shift: Number added after that.
        part: Which part of the parameter it is (``[0:32]``), empty for the whole.
        computed: Whether it is no parameter but computed from some.
        history: Initialisers that wrote the parameter, in order.
    """

    origin: str
    layout: torch.Tensor
    stored: tuple[int, ...]
    dtype: str
    load: Callable[[], torch.Tensor | None] = field(compare=False)
    scale: float = 1.0
    shift: float = 0.0
    part: str = ""
    computed: bool = False
    history: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the view."""
        return tuple(self.layout.shape)

    @property
    def is_float(self) -> bool:
        """Whether its elements are real numbers."""
        return self.dtype.startswith(("float", "bfloat"))

    @property
    def key(self) -> str:
        """Name of the tensor it is a view of, its part and factor included."""
        factor = f"*{self.scale:g}" if self.scale != 1.0 else ""
        addend = f"{self.shift:+g}" if self.shift else ""
        return f"{self.origin}{self.part}{factor}{addend}"

    @property
    def size(self) -> int:
        """Number of different elements: repeated ones count once."""
        count = 1
        for size, stride in zip(self.layout.shape, self.layout.stride(), strict=True):
            count *= size if stride else 1
        return count

    def stored_axis(self, axis: int) -> int | None:
        """The stored axis that an axis of the view runs along, None where axes were split or joined."""
        size, stride = self.layout.shape[axis], self.layout.stride(axis)
        steps = torch.empty(self.stored, device="meta").stride()
        for stored, (whole, step) in enumerate(zip(self.stored, steps, strict=True)):
            if whole > 1 and step == stride and size > 1:
                return stored if size == whole or self.part else None
        return None

    def moved(self, func: Callable[..., torch.Tensor], *args: Any, **kwargs: Any) -> View:
        """The view after an operation that only moves elements about."""
        load = self.load

        def loaded() -> torch.Tensor | None:
            tensor = load()
            return None if tensor is None else func(tensor, *args, **kwargs)

        return replace(self, layout=func(self.layout, *args, **kwargs), load=loaded)

    def affine(self, factor: float, addend: float) -> View:
        """The view with every element multiplied by a number and another one added."""
        load = self.load

        def loaded() -> torch.Tensor | None:
            tensor = load()
            return None if tensor is None else tensor * factor + addend

        return replace(self, scale=self.scale * factor, shift=self.shift * factor + addend, load=loaded)


@dataclass(frozen=True, slots=True)
class Gate:
    """Random numbers that the forward pass draws: uniform, or one with a probability and zero otherwise.

    Attributes:
        value: Shape and type.
        keep: Probability of one; None while they are uniform on (0, 1).
        scale: Factor on them.
        shift: Number added, to uniform ones.
    """

    value: Value
    keep: float | None = None
    scale: float = 1.0
    shift: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the numbers."""
        return self.value.shape or ()


Known: TypeAlias = "Activation | View | Gate | torch.Tensor"


def root_view(
    origin: str, shape: tuple[int, ...], dtype: str, load: Callable[[], torch.Tensor | None], *, computed: bool = False
) -> View:
    """A whole tensor as a view of itself."""
    return View(origin, torch.empty(shape, device="meta"), shape, dtype, load, computed=computed)
