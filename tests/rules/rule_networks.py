"""Networks that several tests of rules share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from initcheck import Builder, Finding, Graph, Optimizer
from initcheck.consolidate import consolidate
from initcheck.testing import run_rule, run_rules
from initcheck_rules import RULES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["findings", "mlp", "reported", "residual"]


def mlp(
    widths: Sequence[int],
    init: Any = "kaiming_normal",
    *,
    act: str = "relu",
    bias: Any = "zeros",
    special: Mapping[int, Any] | None = None,
    special_bias: Mapping[int, Any] | None = None,
    norm: str = "",
) -> Graph:
    """A stack of linear layers with paths ``fc0``, ``fc1``, ...; the last has ten units and no activation."""
    b = Builder()
    x = b.x
    last = len(widths)
    for k, width in enumerate([*widths, 10]):
        chosen = (special or {}).get(k, init)
        x = b.linear(x, width, chosen, bias=(special_bias or {}).get(k, bias), path=f"fc{k}")
        if k < last:
            x = b.normalize(x, norm) if norm else x
            x = b.activation(x, act)
    return b.graph(x)


def residual(blocks: int, scale: float, *, positive: bool) -> Graph:
    """x + scale · branch(x); the branch ends in a ReLU or in a linear layer."""
    b = Builder()
    x = b.activation(b.linear(b.x, 128))
    for k in range(blocks):
        branch = b.linear(x if positive else b.activation(x), 128, path=f"block{k}")
        x = b.add(x, b.scale(b.activation(branch) if positive else branch, scale))
    return b.graph(b.linear(x, 10))


def findings(code: str, graph: Graph, optimizer: Optimizer = Optimizer.SGD) -> tuple[Finding, ...]:
    """What one rule finds."""
    (rule,) = (rule for rule in RULES if rule.code == code)
    return run_rule(rule(), graph, optimizer=optimizer)


def reported(graph: Graph, optimizer: Optimizer = Optimizer.SGD) -> list[str]:
    """Severity and code of every finding after consolidation, as the user sees them."""
    found = run_rules([rule() for rule in RULES], graph, optimizer=optimizer)
    kept = consolidate(found, {rule.code: rule.subsumes for rule in RULES})
    return [f"{finding.severity} {finding.code}" for finding in kept]
