"""INI601: parameters that nothing ever wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from initcheck import Builder, BuiltParameter, Construction, FailureMode, Finding, Location, Need, Op, Severity
from initcheck_rules.wording import count_of, owner_of, place_of, shape_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from initcheck import Analysis, Graph

__all__ = ["UnwrittenParameter"]


@dataclass(frozen=True, slots=True)
class UnwrittenParameter:
    """Parameters that nothing ever wrote.

    What it checks:
        Whether something gave a value to every parameter that the forward pass reads: an initialiser, arithmetic, an
        assignment, a checkpoint. The parameters that one line allocates are one finding.

    Why it fails:
        ``torch.empty`` and ``to_empty`` reserve memory and leave in it what was there: mostly zeros in a process that
        has just begun, anything later, nan and 1e38 included. The model differs from run to run and from rank to rank,
        and a test on a fresh process may never show it.

    Example:
        ``self.gate = nn.Parameter(torch.empty(dim))``, or a model built under ``torch.device("meta")`` and given memory
        by ``to_empty`` whose initialisation is never called.

    Instead:
        Initialise it where it is made: ``nn.init.zeros_(self.gate)``; after ``to_empty`` call the model's own
        initialisation or load a checkpoint.

    Limits:
        Only what is certain is reported: memory that was written in part, whose address was handed out, or that the
        factory leaves on the meta device is not. A parameter that the forward pass never reads belongs to INI904,
        buffers are not looked at, since a cache may begin as empty memory, and files hold no past at all.

    References:
        PyTorch, torch.empty and torch.nn.Module.to_empty: the memory is uninitialised.
    """

    code: ClassVar[str] = "INI601"
    name: ClassVar[str] = "unwritten-parameter"
    failure_mode: ClassVar[FailureMode] = FailureMode.CONSTRUCTION
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[frozenset[Need]] = frozenset({Need.CONSTRUCTION})
    subsumes: ClassVar[frozenset[str]] = frozenset({"INI901"})

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        """One finding for every line that allocates such parameters."""
        construction = analysis.graph.construction
        groups: dict[Location | None, list[BuiltParameter]] = {}
        for parameter in construction.unwritten if construction is not None else ():
            groups.setdefault(parameter.location, []).append(parameter)
        for group in groups.values():
            yield self._finding(group)

    def _finding(self, group: Sequence[BuiltParameter]) -> Finding:
        first = group[0]
        if len(group) == 1:
            message = f"nothing ever wrote {first.name} ({shape_of(first.shape)}), which the forward pass reads"
        else:
            message = (
                f"nothing ever wrote {count_of(len(group), 'parameter')} that the forward pass reads, starting at "
                f"{first.name} ({shape_of(first.shape)})"
            )
        return Finding(
            code=self.code,
            name=self.name,
            severity=self.severity,
            failure_mode=self.failure_mode,
            message=message,
            cause=_cause(first),
            help=_help(first),
            layers=tuple(dict.fromkeys(owner_of(parameter.name) for parameter in group)),
            location=first.location,
            evidence={"parameters": [parameter.name for parameter in group], "bound": 0},
        )

    @staticmethod
    def bad() -> Graph:
        """A head whose weight is empty memory."""
        return _network(written=False)

    @staticmethod
    def good() -> Graph:
        """The same head, initialised."""
        return _network(written=True)


def _cause(parameter: BuiltParameter) -> str:
    if parameter.allocation:
        return f"{parameter.allocation}{place_of(parameter.location)} gives memory without values, and nothing fills it"
    return "its memory is allocated without values (torch.empty), and nothing fills it"


def _help(parameter: BuiltParameter) -> str:
    if parameter.allocation:
        return f"after {parameter.allocation} call the model's own initialisation, or load a checkpoint"
    name = f"self.{parameter.name.rpartition('.')[2]}"
    call = f"nn.init.xavier_uniform_({name})" if len(parameter.shape) > 1 else f"nn.init.zeros_({name})"
    return f"write it where it is made: {call}"


def _network(*, written: bool) -> Graph:
    b = Builder()
    x = b.activation(b.linear(b.x, 64))
    if written:
        out = b.linear(x, 10, path="head")
    else:
        weight = b.parameter("head.weight", (10, 64), "unwritten")
        out = b.node(Op.OPAQUE, (x, weight), (32, 10), {"type": "aten::linear"}, path="head", kind="linear")
    parameters = {
        name: BuiltParameter(name, parameter.shape, parameter.distribution, written=parameter.written)
        for name, parameter in b.parameters.items()
    }
    return b.graph(out, construction=Construction(parameters))
