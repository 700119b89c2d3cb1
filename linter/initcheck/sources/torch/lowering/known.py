"""What a name of the trace stands for before any layer reads it: an activation, a view of a parameter, a constant."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Activation", "Known", "View", "root_view"]


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
        part: Which part of the parameter it is (``[0:32]``), empty for the whole.
        computed: Whether it is no parameter but computed from some.
    """

    origin: str
    layout: torch.Tensor
    stored: tuple[int, ...]
    dtype: str
    load: Callable[[], torch.Tensor | None] = field(compare=False)
    scale: float = 1.0
    part: str = ""
    computed: bool = False

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
        return f"{self.origin}{self.part}{factor}"

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

    def scaled(self, factor: float) -> View:
        """The view with every element multiplied by a number."""
        load = self.load

        def loaded() -> torch.Tensor | None:
            tensor = load()
            return None if tensor is None else tensor * factor

        return replace(self, scale=self.scale * factor, load=loaded)


Known: TypeAlias = "Activation | View | torch.Tensor"


def root_view(
    origin: str, shape: tuple[int, ...], dtype: str, load: Callable[[], torch.Tensor | None], *, computed: bool = False
) -> View:
    """A whole tensor as a view of itself."""
    return View(origin, torch.empty(shape, device="meta"), shape, dtype, load, computed=computed)
