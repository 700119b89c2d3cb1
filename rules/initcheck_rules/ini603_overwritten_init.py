"""INI603: an initialisation that somebody chose is replaced by one that was meant for everything."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from initcheck import (
    Builder,
    BuiltParameter,
    CallSite,
    Construction,
    FailureMode,
    Finding,
    Location,
    Need,
    Op,
    Severity,
    Write,
)
from initcheck_rules.losses import find_losses
from initcheck_rules.wording import count_of, owner_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from initcheck import Analysis, Graph
    from initcheck_rules.losses import Loss

__all__ = ["OverwrittenInit"]

CLOSE = math.log10(2.0)
"""Decades in the mean square, over all layers of one loss, up to which a signal starts alike: one Glorot layer before
ReLU instead of a He layer."""

_MOVING = frozenset({Op.IDENTITY, Op.RESHAPE, Op.TRANSPOSE, Op.EXPAND, Op.SLICE, Op.SPLIT, Op.DROPOUT})
_JOINING = frozenset({Op.ADD, Op.CONCAT})


@dataclass(frozen=True, slots=True)
class OverwrittenInit:
    """An initialisation that somebody chose is replaced by one that was meant for everything.

    What it checks:
        The order of writes to every parameter. One that stands in the user's code for some parameters, and is followed
        by one for more of them or by a library's default (``reset_parameters()``, ``post_init()``), is lost. It is a
        note where the start of training does not depend on it: both laws have mean zero, and either their variances
        differ by less than a factor of two, over all layers that lose the choice, or the parameter is only added (a
        position table, a class token).

    Why it fails:
        The line that chose it has no effect, and nothing says so. A head or an adaLN gate that was set to zero so that
        the network starts as the identity is drawn like every other layer, a bias that encodes a prior is zero again,
        pretrained rows are noise.

    Example:
        ``nn.init.zeros_(self.head.weight)`` in the constructor, and ``self.apply(self._init_weights)`` or
        ``self.post_init()`` in a later line.

    Instead:
        Initialise everything first and choose afterwards, or make the choice in the function that is applied.

    Limits:
        A layer's own default that the user replaces is the normal order and silent, as is a later write for fewer
        parameters, for the same ones or with the same law, and anything on tied parameters, which two layers write in
        turn. A choice in the constructor of a part of the model that the whole then initialises anew is reported only
        if it is a constant that no default gives (a weight of zeros, a bias of -4.6) or a copy of data: other laws may
        have been no more than that part's default. A layer that is replaced by a new one takes its past with it.

    References:
        Goyal et al., Accurate, Large Minibatch SGD (2017), 5.1, and Peebles and Xie, Scalable Diffusion Models with
        Transformers (2023), 3.2: initialisations by zero that a blanket loop must not touch.
    """

    code: ClassVar[str] = "INI603"
    name: ClassVar[str] = "overwritten-init"
    failure_mode: ClassVar[FailureMode] = FailureMode.CONSTRUCTION
    severity: ClassVar[Severity] = Severity.WARNING
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CONSTRUCTION})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """One finding for every line whose choice another line replaces."""
        construction = analysis.graph.construction
        groups: dict[tuple[object, ...], list[Loss]] = {}
        for loss in find_losses(construction) if construction is not None else ():
            key = (loss.chosen.location, loss.chosen.initializer, loss.place, loss.final.initializer)
            groups.setdefault(key, []).append(loss)
        for group in groups.values():
            yield self._finding(group, analysis.graph)

    def _finding(self, group: Sequence[Loss], graph: Graph) -> Finding:
        loss = group[0]
        chosen, final, line = loss.chosen, loss.final, f"{loss.place.file}:{loss.place.line}"
        names = [item.parameter.name for item in group]
        who = names[0] if len(names) == 1 else f"{count_of(len(names), 'parameter')} ({names[0]}, ...)"
        by = final.routine or loss.caller
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.NOTE if _is_harmless(group, graph) else self.severity,
            failure_mode=self.failure_mode,
            message=(
                f"{chosen.initializer} of {who} is lost: {final.initializer} replaces it, one line for "
                f"{count_of(loss.reach, 'parameter')}"
            ),
            cause=f"{by}() at {line} comes later" if by else f"{line} comes later",
            help=f"move it behind {line}" + (f", or choose in what {by}() calls" if by else ""),
            layers=tuple(dict.fromkeys(map(owner_of, names))),
            location=chosen.location,
            evidence={
                "parameters": names,
                "chosen": chosen.initializer,
                "final": final.initializer,
                "line": line,
                "bound": 0,
            },
        )

    @staticmethod
    def bad() -> Graph:
        """A head of zeros, then one law for all layers."""
        return _network(blanket_last=True)

    @staticmethod
    def good() -> Graph:
        """One law for all layers, then a head of zeros."""
        return _network(blanket_last=False)


def _is_harmless(group: Sequence[Loss], graph: Graph) -> bool:
    """Whether the start of training does not depend on which of the two laws it is."""
    change = 0.0
    for loss in group:
        old, new = loss.chosen.distribution, loss.parameter.distribution
        if old is None or new is None or old.mean != 0.0 or new.mean != 0.0:
            return False
        if not _is_only_added(loss.parameter.name, graph):
            constant = min(old.variance, new.variance) == 0.0
            change += math.inf if constant else abs(math.log10(new.variance / old.variance))
    return change <= CLOSE


def _is_only_added(name: str, graph: Graph) -> bool:
    """Whether all that is done with a parameter is to move, add and join it to other values."""
    reached, found = {name}, False
    for node in graph.nodes:
        if reached.isdisjoint(node.inputs):
            continue
        if node.op in _MOVING:
            reached.update(node.outputs)
        elif node.op in _JOINING:
            found = True
        else:
            return False
    return found


def _network(*, blanket_last: bool) -> Graph:
    b = Builder()
    x = b.activation(b.linear(b.x, 64, path="fc"))
    out = b.linear(x, 10, "kaiming_normal" if blanket_last else "zeros", path="head")
    laws = {name: parameter.distribution for name, parameter in b.parameters.items()}
    zero, apply, draw = (CallSite("__init__", "m.py", 8), CallSite("__init__", "m.py", 9), CallSite("init", "m.py", 3))
    blanket = Write("kaiming_normal_", Location("m.py", 3, "exact"), (apply, draw), distribution=laws["fc.weight"])
    choice = Write("zeros_", Location("m.py", 8, "exact"), (zero,), distribution=replace(laws["fc.bias"], size=640))
    order = (choice, blanket) if blanket_last else (blanket, choice)
    parameters = {
        "fc.weight": BuiltParameter("fc.weight", (64, 64), laws["fc.weight"], (blanket,)),
        "head.weight": BuiltParameter("head.weight", (10, 64), laws["head.weight"], order),
    }
    return b.graph(out, construction=Construction(parameters))
