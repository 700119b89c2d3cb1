"""INI203: a post-norm stack is so deep that its skips hardly reach the first layers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from initcheck import Builder, FailureMode, Finding, Need, Severity
from initcheck_rules.stream import additions_of
from initcheck_rules.wording import power_of_ten

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from initcheck import Analysis, Graph
    from initcheck_rules.stream import Addition

__all__ = ["PostNormDepth"]

DEEP = 24
"""Residual additions beyond which post-norm transformers are known to need care: twelve layers of two.

Six layers start without more (Vaswani et al. 2017, with warm-up), eighteen diverge at rates that six bear (Liu et al.
2020); BERT-large trains 24 layers with warm-up and small weights.
"""

LOST = 1.0
"""Decades of gradient that the skips lose from which it is worth a word."""

HELD = 0.5
"""Decades that the scale of the help line leaves."""


@dataclass(frozen=True, slots=True)
class PostNormDepth:
    """A post-norm stack is so deep that its skips hardly reach the first layers.

    What it checks:
        More than 24 residual additions of the main path that are normalised right after (and whose branches do not
        begin with a normalisation), and Σ log10(1 + r) over them, r being the mean square of the branch over that of
        the skip. A note from 10 (one decade).

    Why it fails:
        A normalisation after the addition divides the skip by √(1 + r), forward and backward: what the skips alone
        carry to the first layers falls as the product over all additions, exponentially in depth. Gradients of the
        last layers are the largest at the start, and a full rate from step one breaks them: such stacks need warm-up.

    Example:
        ``x = norm(x + branch(x))`` 48 times with PyTorch's default initialisation.

    Instead:
        ``x = x + branch(norm(x))`` with one norm before the head; or scale the skip up and the branches down as DeepNet
        does; or warm the learning rate up.

    Limits:
        Depth alone does not stop training (BERT-large): never more than a note.

    References:
        Xiong et al., On Layer Normalization in the Transformer Architecture (arXiv 2002.04745). Liu et al., Admin
        (arXiv 2004.08249). Wang et al., DeepNet (arXiv 2203.00555).
    """

    code: ClassVar[str] = "INI203"
    name: ClassVar[str] = "post-norm-depth"
    failure_mode: ClassVar[FailureMode] = FailureMode.VANISHING
    severity: ClassVar[Severity] = Severity.NOTE
    needs: ClassVar[frozenset[Need]] = frozenset({Need.GRAPH, Need.SIGNAL, Need.INITIALIZATION})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """At most one finding."""
        stack = [addition for addition in additions_of(analysis) if addition.post_norm]
        lost = math.fsum(math.log10(1.0 + addition.ratio) for addition in stack)
        if len(stack) > DEEP and lost >= LOST:
            yield self._finding(stack, lost)

    def _finding(self, stack: Sequence[Addition], lost: float) -> Finding:
        total = math.fsum(addition.ratio for addition in stack)
        scale = math.sqrt(total / (HELD * math.log(10.0)))
        names = [addition.layers[0].path if addition.layers else addition.residual.node for addition in stack]
        return Finding(
            code=self.code,
            name=self.name,
            severity=Severity.NOTE,
            failure_mode=self.failure_mode,
            message=(
                f"skips carry {power_of_ten(-lost)} of the gradient through {len(stack)} residual additions that are "
                f"normalised right after (bound {power_of_ten(-LOST)} over more than {DEEP}), starting at {names[0]}"
            ),
            cause=f"each normalisation divides the skip by √(1 + r), r = {total / len(stack):.2g} on average",
            help=f"x = norm({scale:.2g} * x + branch(x)), or x = x + branch(norm(x)), or a learning rate with warm-up",
            layers=tuple(dict.fromkeys(names)),
            location=stack[0].node.location,
            evidence={"additions": len(stack), "log10_skip_gradient": -lost, "scale": scale, "bound": -LOST},
        )

    @staticmethod
    def bad() -> Graph:
        """Thirty-two additions that are normalised right after."""
        return _stack(1.0)

    @staticmethod
    def good() -> Graph:
        """The same with the skips scaled up."""
        return _stack(8.0)

    @staticmethod
    def helped(finding: Finding) -> Graph:
        """The skips scaled as the help line says."""
        return _stack(finding.evidence["scale"])


def _stack(scale: float) -> Graph:
    b = Builder()
    x = b.normalize(b.linear(b.x, 64, "lecun_normal"))
    for k in range(32):
        hidden = b.activation(b.linear(x, 128, path=f"{k}.up"))
        branch = b.linear(hidden, 64, "xavier_normal", path=f"{k}.down")
        x = b.normalize(b.add(b.scale(x, scale) if scale != 1.0 else x, branch))
    return b.graph(b.linear(x, 10, "lecun_normal", path="head"))
