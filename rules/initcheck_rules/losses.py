"""Initialisations that were chosen and then replaced, from the history of writes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from initcheck import Effect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck import BuiltParameter, CallSite, Construction, Distribution, Write

__all__ = ["Loss", "find_losses"]

TOLERANCE = 1e-6
"""Relative distance up to which moments of two laws are the same."""

_OF_A_PART = frozenset({"__init__", "reset_parameters", "_reset_parameters"})
"""Methods in which part of a model gives itself a default."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A choice that is lost.

    Attributes:
        parameter: Whose.
        chosen: The write that chose.
        final: The write that replaced it.
        place: Where the replacement begins, in the function that also led to the choice.
        caller: Function that is called there, empty where that line writes itself.
        reach: Number of parameters that the line of ``final`` writes in this call.
    """

    parameter: BuiltParameter
    chosen: Write
    final: Write
    place: CallSite
    caller: str
    reach: int


def find_losses(construction: Construction) -> Iterator[Loss]:
    """At most one loss for each parameter that the forward pass reads."""
    sites = _Sites(construction)
    for parameter in construction.parameters.values():
        loss = _find(parameter, sites) if parameter.read and not parameter.tied else None
        if loss is not None:
            yield loss


class _Sites:
    """Which parameters each line wrote."""

    def __init__(self, construction: Construction) -> None:
        self._written: dict[CallSite, list[tuple[str, tuple[CallSite, ...]]]] = {}
        self._found: dict[tuple[tuple[CallSite, ...], CallSite], frozenset[str]] = {}
        for parameter in construction.parameters.values():
            for write in parameter.history:
                if write.calls:
                    self._written.setdefault(write.calls[-1], []).append((parameter.name, write.calls))

    def reach(self, calls: tuple[CallSite, ...], depth: int) -> frozenset[str]:
        """Parameters that the innermost line of ``calls`` wrote while the same lines down to ``depth`` were running."""
        key = (calls[: depth + 1], calls[-1])
        if key not in self._found:
            written = self._written.get(calls[-1], ())
            self._found[key] = frozenset(name for name, others in written if others[: depth + 1] == key[0])
        return self._found[key]


def _find(parameter: BuiltParameter, sites: _Sites) -> Loss | None:
    history, law = parameter.history, parameter.distribution
    last = max((at for at, write in enumerate(history) if write.effect is Effect.RENEW), default=0)
    if law is None or not law.exact or any(write.effect is Effect.COPY for write in history[last:]):
        return None
    final = history[last] if history else None
    if final is None or not final.calls or (final.default and not final.routine):
        return None
    for at in range(last - 1, -1, -1):
        chosen = history[at]
        if not _is_chosen(chosen) or _is_kept(chosen, law):
            continue
        depth = _meeting(chosen.calls, final.calls)
        if depth is None:
            continue
        before = history[at - 1].distribution if at else None
        if _is_lost(parameter, chosen, final, before, depth, sites):
            inner = final.calls[depth + 1 :]
            caller = inner[0].function if inner else ""
            return Loss(parameter, chosen, final, final.calls[depth], caller, len(sites.reach(final.calls, depth)))
    return None


def _is_chosen(write: Write) -> bool:
    """Whether the user's own code decided what to write, beyond what a layer gets when it is made."""
    return bool(write.calls) and not write.default and not write.routine


def _is_kept(chosen: Write, law: Distribution) -> bool:
    """Whether the parameter ends with the law that was chosen, or that is not known."""
    if chosen.distribution is None:
        return chosen.effect is not Effect.COPY
    return _is_same(chosen.distribution, law)


def _is_same(one: Distribution, other: Distribution) -> bool:
    scale = max(abs(one.mean), one.std, abs(other.mean), other.std)
    return one.family is other.family and all(
        math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE * scale)
        for a, b in ((one.mean, other.mean), (one.std, other.std))
    )


def _meeting(one: tuple[CallSite, ...], other: tuple[CallSite, ...]) -> int | None:
    """How deep the function lies that led to both writes from two lines of its own; None if there is none."""
    depth = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))
    if depth >= min(len(one), len(other)):
        return None
    a, b = one[depth], other[depth]
    return depth if (a.function, a.file) == (b.function, b.file) else None


def _is_lost(
    parameter: BuiltParameter,
    chosen: Write,
    final: Write,
    before: Distribution | None,
    depth: int,
    sites: _Sites,
) -> bool:
    """Whether the later write is the more general one, so that nobody meant it to replace the choice."""
    some, more = sites.reach(chosen.calls, depth), sites.reach(final.calls, depth)
    if final.routine:
        # One layer that is reset after a law for many was singled out itself.
        return 2 * len(some & more) > len(some)
    nested = any(call.function in _OF_A_PART for call in chosen.calls[depth + 1 :])
    return some < more and (not nested or _is_telling(parameter, chosen, before))


def _is_telling(parameter: BuiltParameter, chosen: Write, before: Distribution | None) -> bool:
    """Whether a choice cannot have been no more than the default of the part that made it."""
    law = chosen.distribution
    if chosen.effect is Effect.COPY or law is None:
        return chosen.effect is Effect.COPY
    if not law.is_constant:
        return False
    if law.mean == 0.0 and len(parameter.shape) > 1:
        return True
    if before is None:
        return False
    return not (before.is_constant and before.mean == law.mean) and (law.mean != 0.0 or before.is_constant)
