"""One call with its arguments by the names of the operator's schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from initcheck.sources.torch.lowering.known import Activation, View
from initcheck.sources.torch.schema import arguments_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.graph import Value
    from initcheck.sources.torch.calls import Call
    from initcheck.sources.torch.lowering.known import Known

__all__ = ["Bound", "NotUnderstoodError", "bind"]


class NotUnderstoodError(Exception):
    """This use of an operator has no word in the vocabulary; the call becomes opaque."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A call as handlers see it.

    Attributes:
        call: The call in the trace.
        arguments: Argument -> value, defaults filled in; tensors as ``Known``.
        results: Types of its outputs.
    """

    call: Call
    arguments: Mapping[str, Any]
    results: tuple[Value, ...]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        """An argument, or a default where the operator's schema has none of this name."""
        return self.arguments.get(name, default)

    def first(self, *names: str) -> Any:
        """The first argument that the schema has among some spellings (``self``, ``input``)."""
        return next((self.arguments[name] for name in names if name in self.arguments), None)

    @property
    def x(self) -> Known:
        """The first tensor.

        Raises:
            NotUnderstoodError: If there is none.
        """
        value = next(iter(self.arguments.values()), None)
        if not isinstance(value, (Activation, View, torch.Tensor)):
            raise NotUnderstoodError
        return value

    @property
    def output(self) -> str:
        """Name of the first output."""
        return self.call.outputs[0]

    @property
    def result(self) -> Value:
        """Type of the first output."""
        return self.results[0]


def bind(call: Call, args: Any, kwargs: Mapping[str, Any], results: tuple[Value, ...]) -> Bound:
    """Arguments by name.

    Args:
        call: The call; one without schema has its arguments numbered.
        args: Its positional arguments, tensors as ``Known``.
        kwargs: Its keyword arguments, likewise.
        results: Types of its outputs.
    """
    if call.func is None:
        return Bound(call, {**{str(at): arg for at, arg in enumerate(args)}, **kwargs}, results)
    arguments: dict[str, Any] = {}
    rest = list(args)
    for argument in arguments_of(call.func):
        if rest and not argument.kwarg_only:
            arguments[argument.name] = rest.pop(0)
        elif argument.name in kwargs:
            arguments[argument.name] = kwargs[argument.name]
        else:
            arguments[argument.name] = argument.default_value if argument.has_default_value() else None
    return Bound(call, arguments, results)
