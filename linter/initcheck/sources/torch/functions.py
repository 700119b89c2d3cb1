"""Functions with a backward pass of their own, as a trace of the forward pass sees them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["own_backwards"]


@contextmanager
def own_backwards() -> Iterator[None]:
    """Trace ``torch.autograd.Function`` classes as x + (f(x) - x), which lowering reads as straight-through estimators.

    What such a function computes is traced, what it hands back is not. Where no change of its input passes the
    computation (a sign, a rounding), its backward pass exists to let one through.
    """
    # ``name = F.apply`` at the top of a file has been looked up already: only what that calls can be exchanged.
    inner: Any = torch.autograd.Function.__mro__[1]

    def apply(cls: type[torch.autograd.Function], *args: Any, **kwargs: Any) -> Any:
        result = super(inner, cls).apply(*args, **kwargs)
        if cls.__module__.partition(".")[0] == "torch":
            return result
        return tuple(_passed(args, part) for part in result) if isinstance(result, tuple) else _passed(args, result)

    if "apply" in vars(inner):
        yield
        return
    setattr(inner, "apply", classmethod(apply))  # noqa: B010 - a method is added for a while
    try:
        yield
    finally:
        delattr(inner, "apply")


def _passed(args: tuple[Any, ...], result: Any) -> Any:
    through = next((arg for arg in args if _is_like(arg, result)), None) if isinstance(result, torch.Tensor) else None
    return result if through is None else through + (result - through)


def _is_like(argument: object, result: torch.Tensor) -> bool:
    return (
        isinstance(argument, torch.Tensor)
        and argument is not result
        and result.is_floating_point()
        and (argument.shape, argument.dtype) == (result.shape, result.dtype)
    )
