"""What patterns need of a source's builder; both sources provide it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.graph import Constant, Value

__all__ = ["Lowered", "Parameters"]


class Parameters(Protocol):
    """Uses of parameters while a graph is built."""

    def describe(self, key: str, name: str, fans: tuple[float, float] | None) -> None:
        """Give a parameter without a role the name and fans of the layer it turned out to belong to."""
        ...

    def shape(self, key: str) -> tuple[int, ...] | None:
        """Shape of a parameter, None if there is none of this name."""
        ...

    def is_filled_with(self, key: str, number: float) -> bool:
        """Whether every element of a parameter is this number."""
        ...


class Lowered(Protocol):
    """Values, constants and parameters that lowered nodes read."""

    @property
    def values(self) -> Mapping[str, Value]:
        """Activations."""
        ...

    @property
    def constants(self) -> Mapping[str, Constant]:
        """Constants."""
        ...

    @property
    def parameters(self) -> Parameters:
        """Parameters."""
        ...
