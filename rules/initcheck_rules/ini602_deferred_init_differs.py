"""INI602: built on the meta device and initialised afterwards, the model starts from other values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from initcheck import (
    Builder,
    BuiltParameter,
    Construction,
    DeferredDifference,
    DeferredRoute,
    FailureMode,
    Finding,
    Need,
    Severity,
)
from initcheck_rules.wording import count_of, owner_of, scheme_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from initcheck import Analysis, Distribution, Graph

__all__ = ["DeferredInitDiffers"]

WHOLE = 0.5
"""Share of the weights from which a method initialises the model, not a part of it."""

NAMED = 3
"""Parameters named in a message."""


@dataclass(frozen=True, slots=True)
class DeferredInitDiffers:
    """Built on the meta device and initialised afterwards, the model starts from other values.

    What it checks:
        Whether the deferred route (``torch.device("meta")``, ``to_empty``, then the model's own ``init_weights()``,
        ``initialize_weights()``, ``reset_parameters()`` or ``apply(_init_weights)``) leaves the parameters as the
        factory does: that it writes all that the forward pass reads, and draws weights of two or more axes by the same
        law. Nothing is allocated: the method runs on a copy on the meta device.

    Why it fails:
        Large models are built this way, by FSDP, torchtitan and transformers among others. What the constructor does
        beside the method is lost there: a parameter that it alone writes keeps whatever was in memory, and a head that
        it sets to zero afterwards is drawn like every other layer. The same code trains on one device and not on many.

    Example:
        A constructor that makes ``self.gate = nn.Parameter(torch.ones(dim))`` and an ``_init_weights`` that knows only
        ``nn.Linear`` and ``nn.Embedding``.

    Instead:
        Write every parameter in the method, also what has the value it wants already, and call nothing but the method
        in the constructor.

    Limits:
        That a method is meant for the deferred route shows where transformers promises it, where it takes a device, or
        where the factory leaves the model on the meta device. There an unwritten parameter is an error and another law
        a warning. Elsewhere both are notes, since a model that is never deferred is healthy, and there are none for a
        method that writes less than half of the weights or some layer in part, since it counts on what the constructor
        wrote, nor on laws that a constructor chooses after ``apply(_init_weights)``, which is the usual order. Plain
        layers that could reset themselves are no such method unless the factory leaves the model on the meta device.
        Laws are compared where both are exact, tied parameters only if none of their names is written, models that had
        to be built for real not at all.

    References:
        PyTorch, torch.nn.Module.to_empty and the FSDP notes on meta-device initialisation. Transformers,
        PreTrainedModel._init_weights.
    """

    code: ClassVar[str] = "INI602"
    name: ClassVar[str] = "deferred-init-differs"
    failure_mode: ClassVar[FailureMode] = FailureMode.CONSTRUCTION
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CONSTRUCTION, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most two findings: what is left unwritten, and what is drawn by another law."""
        construction = analysis.graph.construction
        route = construction.deferred if construction is not None else None
        if construction is None or route is None or not (route.evidence or _is_complete(construction, route)):
            return
        forgotten = [difference for difference in route.differences if difference.deferred is None]
        changed = [difference for difference in route.differences if difference.deferred is not None]
        if route.applied and not route.evidence:
            changed = []
        if forgotten:
            yield self._forgotten(route, forgotten)
        if changed:
            total = sum(len(parameter.shape) > 1 for parameter in construction.parameters.values())
            yield self._changed(route, changed, total)

    def _forgotten(self, route: DeferredRoute, differences: Sequence[DeferredDifference]) -> Finding:
        first = differences[0]
        named = ", ".join(difference.name for difference in differences[:NAMED])
        what = "buffer" if all(difference.is_buffer for difference in differences) else "parameter"
        return self._finding(
            route,
            differences,
            severity=Severity.ERROR if route.evidence else Severity.NOTE,
            message=(
                f"{route.method} leaves {count_of(len(differences), what)} unwritten that the forward pass reads: "
                f"{named}{_more(differences)}"
            ),
            cause=f"after to_empty they are whatever was in memory, {_law(first.factory)} from the factory",
            help=f"write them in {route.method}: {_code(first)}",
        )

    def _changed(self, route: DeferredRoute, differences: Sequence[DeferredDifference], total: int) -> Finding:
        first = differences[0]
        laws = f"{_law(first.factory)} from the factory, {_law(first.deferred)} deferred"
        count = f"{len(differences)} of {count_of(total, 'weight')}"
        message = f"{route.method} gives {count} another law than the factory: {first.name} is {laws}"
        if not route.called:
            message = f"the factory never calls {route.method}, which gives {count} another law: {first.name} is {laws}"
        return self._finding(
            route,
            differences,
            severity=Severity.WARNING if route.evidence and route.called else Severity.NOTE,
            message=message,
            cause=(
                "what the factory does beside the method is lost when initialisation is deferred"
                if route.called
                else "the method runs only where a trainer calls it"
            ),
            help=f"do in {route.method} what the factory does" if route.called else f"call {route.method}",
        )

    def _finding(
        self,
        route: DeferredRoute,
        differences: Sequence[DeferredDifference],
        *,
        severity: Severity,
        message: str,
        cause: str,
        help: str,  # noqa: A002 - the name of the field
    ) -> Finding:
        return Finding(
            code=self.code,
            name=self.name,
            severity=severity,
            failure_mode=self.failure_mode,
            message=message,
            cause=f"{cause} ({route.evidence})" if route.evidence else cause,
            help=help,
            layers=tuple(dict.fromkeys(owner_of(difference.name) for difference in differences)),
            location=differences[0].location,
            evidence={
                "method": route.method,
                "parameters": {
                    difference.name: {"factory": _law(difference.factory), "deferred": _law(difference.deferred)}
                    for difference in differences
                },
                "bound": 0,
            },
        )

    @staticmethod
    def bad() -> Graph:
        """A normalisation that the method forgets, and a head that the factory sets to zero after it."""
        return _network(complete=False)

    @staticmethod
    def good() -> Graph:
        """A method that does all of it."""
        return _network(complete=True)


def _is_complete(construction: Construction, route: DeferredRoute) -> bool:
    """Whether a method writes most of the model, and no layer in part, as if nothing had been written before."""
    forgotten = {difference.name for difference in route.differences if difference.deferred is None}
    owners = {owner_of(name) for name in forgotten}
    in_part = any(owner_of(name) in owners and name not in forgotten for name in construction.parameters)
    return route.coverage >= WHOLE and not in_part


def _more(differences: Sequence[DeferredDifference]) -> str:
    return f" and {len(differences) - NAMED} more" if len(differences) > NAMED else ""


def _law(law: Distribution | None) -> str:
    return "unwritten" if law is None else scheme_name(law)


def _code(difference: DeferredDifference) -> str:
    """The line that gives a parameter what the factory gives it."""
    name = f"module.{difference.name.rpartition('.')[2]}"
    law = difference.factory
    if difference.is_buffer or law is None:
        return f"{name}.copy_(...)"
    if law.is_constant:
        return f"nn.init.constant_({name}, {law.mean:g})"
    return f"nn.init.normal_({name}, std={law.std:.3g})"


def _network(*, complete: bool) -> Graph:
    b = Builder()
    x = b.activation(b.normalize(b.linear(b.x, 64, path="fc"), path="norm"))
    out = b.linear(x, 10, "zeros", path="head")
    laws = {name: parameter.distribution for name, parameter in b.parameters.items()}
    differences = (
        DeferredDifference("norm.weight", (64,), laws["norm.weight"], None),
        DeferredDifference("head.weight", (10, 64), laws["head.weight"], laws["fc.weight"]),
    )
    route = DeferredRoute(
        "init_weights()", "init_weights() takes the argument device", differences=() if complete else differences
    )
    parameters = {name: BuiltParameter(name, p.shape, p.distribution) for name, p in b.parameters.items()}
    return b.graph(out, construction=Construction(parameters, route))
