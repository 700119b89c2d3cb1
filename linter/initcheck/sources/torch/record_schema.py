"""What an operation's schema tells: its name, its arguments, what it mutates, whether it is a view."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Operation", "describe"]


@dataclass(frozen=True, slots=True)
class Operation:
    """An overload of an operation.

    Attributes:
        name: Base name (``normal_``).
        stem: The same without the underscore of in-place operations.
        parameters: Names of its arguments in order.
        mutated: Those that it writes.
        has_device: Whether it takes a device.
        is_view: Whether its results share memory with its operands and nothing is written.
        is_pointwise: Whether each element of the result depends on the elements at the same place only.
        gives_tensors: Whether it returns tensors at all.
    """

    name: str
    stem: str
    parameters: tuple[str, ...]
    mutated: tuple[str, ...]
    has_device: bool
    is_view: bool
    is_pointwise: bool
    gives_tensors: bool

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by name, defaults left out."""
        return {**dict(zip(self.parameters, args, strict=False)), **kwargs}


@lru_cache(maxsize=4096)
def describe(overload: Any) -> Operation:
    """The operation behind an overload as the dispatcher hands it out."""
    schema = overload._schema  # noqa: SLF001 - the only access to it
    name = schema.name.rpartition("::")[2]
    mutated = tuple(a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write)
    aliased = any(r.alias_info is not None for r in schema.returns)
    return Operation(
        name,
        name.rstrip("_") if name.endswith("_") and not name.startswith("__") else name,
        tuple(a.name for a in schema.arguments),
        mutated,
        any(a.name == "device" for a in schema.arguments),
        aliased and not mutated,
        torch.Tag.pointwise in overload.tags,
        any("Tensor" in str(r.type) for r in schema.returns),
    )
