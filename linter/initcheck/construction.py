"""How the parameters of a model came by their initial values: who wrote them, in which order, and what if deferred.

Only a source that watches a model being built knows this. A file has values and no past.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.distribution import Distribution
    from initcheck.graph import Location

__all__ = ["BuiltParameter", "CallSite", "Construction", "DeferredDifference", "DeferredRoute", "Effect", "Write"]


class Effect(StrEnum):
    """What a write does to what was there."""

    RENEW = "renew"
    """Every element gets a value that depends on nothing before: a draw, a constant."""
    COPY = "copy"
    """Every element gets the value of another tensor, a checkpoint for one."""
    CHANGE = "change"
    """Part of the old values shows through: arithmetic in place, a write into some of the elements."""


@dataclass(frozen=True, slots=True)
class CallSite:
    """A line of the user's code that was running.

    Attributes:
        function: Function that it belongs to.
        file: Path as it should be shown.
        line: From 1.
    """

    function: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Write:
    """One write in a parameter's history.

    Attributes:
        initializer: What wrote it, as people spell it.
        location: Where the write stands in the user's code: the innermost of ``calls``.
        calls: The user's lines that were running, outermost first.
        routine: Method of a library by which the innermost of them had it done (``post_init``, ``reset_parameters``);
            empty where the user's own code chose what to write.
        default: Whether a layer of a library asked for it in its own constructor, or it came with the allocation.
        effect: What it does to what was there.
        distribution: Law of the tensor after it, None where it is not known or no later write takes its place.
    """

    initializer: str
    location: Location | None = None
    calls: tuple[CallSite, ...] = ()
    routine: str = ""
    default: bool = False
    effect: Effect = Effect.RENEW
    distribution: Distribution | None = None


@dataclass(frozen=True, slots=True)
class BuiltParameter:
    """A float parameter of the model, read by its forward pass or not.

    Attributes:
        name: Name in the model; of a tied one its first.
        shape: Stored shape.
        distribution: Law of its elements, None where it is not known.
        history: Writes in order.
        written: False only where it is certain that nothing ever wrote it: its memory is whatever was there.
        read: Whether the forward pass reads it.
        tied: Whether several layers share it.
        location: Line that allocates it, or else that makes its layer.
        allocation: Method of a library that made its memory anew (``to_empty``), empty otherwise.
    """

    name: str
    shape: tuple[int, ...]
    distribution: Distribution | None = None
    history: tuple[Write, ...] = ()
    written: bool = True
    read: bool = True
    tied: bool = False
    location: Location | None = None
    allocation: str = ""


@dataclass(frozen=True, slots=True)
class DeferredDifference:
    """A parameter or buffer that the deferred route leaves otherwise than the factory.

    Attributes:
        name: Its name in the model.
        shape: Stored shape.
        factory: Its law as the factory leaves it, None where it is not known.
        deferred: Its law by the deferred route, None where nothing writes it.
        location: Line that makes it, if known.
        is_buffer: Whether it is a buffer, not a parameter.
    """

    name: str
    shape: tuple[int, ...]
    factory: Distribution | None
    deferred: Distribution | None
    location: Location | None = None
    is_buffer: bool = False


@dataclass(frozen=True, slots=True)
class DeferredRoute:
    """The other way to initial values: built on the meta device, given memory, then initialised by a method.

    Attributes:
        method: The method as people call it (``init_weights()``).
        evidence: Why the model is known to go this way, empty where it only could.
        called: Whether the factory calls the method as well.
        applied: Whether it goes from layer to layer, so that a model may well do more after it.
        coverage: Share of the elements of weights of two or more axes that the method writes.
        differences: What it leaves otherwise, in order of the model.
    """

    method: str
    evidence: str = ""
    called: bool = True
    applied: bool = False
    coverage: float = 1.0
    differences: tuple[DeferredDifference, ...] = ()


@dataclass(frozen=True, slots=True)
class Construction:
    """The past of a model.

    Attributes:
        parameters: Name -> float parameter, in order of the model, tied ones once.
        deferred: The deferred route; None where the model offers none, or it could not be followed.
    """

    parameters: Mapping[str, BuiltParameter] = field(default_factory=dict)
    deferred: DeferredRoute | None = None

    @property
    def unwritten(self) -> tuple[BuiltParameter, ...]:
        """Parameters that the forward pass reads and nothing ever wrote."""
        return tuple(parameter for parameter in self.parameters.values() if parameter.read and not parameter.written)
