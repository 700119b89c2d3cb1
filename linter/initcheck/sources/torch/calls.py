"""A forward pass as a list of calls: what both ways of tracing write, and what lowering reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from torch.utils import _pytree as pytree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import torch
    from torch._ops import OpOverload

    from initcheck.graph import Value

__all__ = ["Call", "Ref", "Trace", "references"]


@dataclass(frozen=True, slots=True)
class Ref:
    """A tensor of the trace by its name."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """One operation of the trace.

    Attributes:
        func: The operator; None for one without a schema (a higher-order operator).
        op: Its name without overload (``aten::linear``).
        args: Positional arguments, tensors as ``Ref``.
        kwargs: Keyword arguments, likewise.
        outputs: Names of the tensors it returns in order; ``""`` for a result that is no tensor.
        path: Path of the innermost module that was running.
        module_type: Qualified name of that module's class.
        stack: Frames ``(file, line)`` of the forward pass, outermost first.
    """

    func: OpOverload | None
    op: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[str, ...]
    path: str = ""
    module_type: str = ""
    stack: tuple[tuple[str, int], ...] = ()

    @property
    def reads(self) -> Iterator[str]:
        """Names of the tensors it reads."""
        return references((self.args, self.kwargs))


@dataclass(slots=True)
class Trace:
    """A traced forward pass.

    Attributes:
        calls: In order of execution.
        values: Name -> shape and type of every tensor.
        inputs: Names of the example's tensors, in order.
        parameters: Name of a tensor -> name of the parameter or buffer it is.
        constants: Name of a tensor -> the tensor, for those that the forward pass closes over.
        outputs: What the module returned, tensors as ``Ref``.
        route: How it was traced.
    """

    route: str
    calls: list[Call] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    parameters: dict[str, str] = field(default_factory=dict)
    constants: dict[str, torch.Tensor] = field(default_factory=dict)
    outputs: Any = None


def references(tree: Any) -> Iterator[str]:
    """Names of the tensors in a nested structure."""
    leaves = pytree.tree_leaves(tree)
    return (leaf.name for leaf in leaves if isinstance(leaf, Ref))
