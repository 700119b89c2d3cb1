"""INI601 through real factories, and models whose construction is healthy."""

from __future__ import annotations

import math
import sys
import warnings
from typing import TYPE_CHECKING

import pytest
import torch
from constructed import CODES, HERE, Mlp, found, line_of
from rule_networks import findings
from torch import nn
from torch.nn.utils import parametrizations

from initcheck import Analysis, Need, Severity
from initcheck_rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable


class Gated(nn.Module):
    def __init__(self, write: Callable[[torch.Tensor], object]) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 16)
        self.gate = nn.Parameter(torch.empty(16))
        self.out = nn.Linear(16, 4)
        with torch.no_grad():
            write(self.gate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.fc(x) * self.gate))


def nothing(_: torch.Tensor) -> None:
    """Write nothing."""


def test_an_empty_parameter_is_one_finding_with_its_line() -> None:
    (finding,) = found(lambda: Gated(nothing))
    assert (finding.code, finding.severity) == ("INI601", Severity.ERROR)
    assert "gate (16)" in finding.message
    assert finding.location is not None
    assert (finding.location.file, finding.location.line) == (
        "test_construction.py",
        line_of(__file__, "self.gate = nn.Par"),
    )
    assert finding.help.endswith("nn.init.zeros_(self.gate)")


class Square(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 16)
        self.mid = nn.Linear(16, width)
        self.mid.weight = nn.Parameter(torch.empty(width, 16))
        self.out = nn.Linear(width, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.mid(torch.relu(self.fc(x)))))


@pytest.mark.parametrize("width", [4, 16])
def test_what_cannot_be_told_behind_it_is_not_reported_again(width: int) -> None:
    (finding,) = found(lambda: Square(width))
    assert (finding.code, finding.layers) == ("INI601", ("mid",))


def test_another_operation_that_is_not_understood_still_is() -> None:
    class Model(Square):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(torch.linalg.svdvals(x[:, :, None] * x[:, None, :]))

    first, second = found(Model)
    assert {first.code, second.code} == {"INI601", "INI901"}
    (operations,) = (finding.evidence["operations"] for finding in (first, second) if finding.code == "INI901")
    assert not any("linear" in operation for operation in operations)


def test_the_line_of_a_loop_is_one_finding() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(Gated(nothing) for _ in range(1))
            self.scales = nn.ParameterList(nn.Parameter(torch.empty(4)) for _ in range(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.layers[0](x)
            for scale in self.scales:
                x = x * scale
            return x

    gate, scales = found(Model)
    assert "layers.0.gate" in gate.message
    assert "3 parameters" in scales.message


WRITES: dict[str, Callable[[torch.Tensor], object]] = {
    "copied": lambda gate: gate.copy_(torch.ones(16)),
    "by data": lambda gate: setattr(gate, "data", torch.ones(16)),
    "by numpy": lambda gate: gate.numpy().fill(1.0),
    "by address": lambda gate: gate.data_ptr(),
    "in part": lambda gate: gate[:8].fill_(1.0),
    "truncated": lambda gate: nn.init.trunc_normal_(gate, mean=1.0),
    "through a view": lambda gate: nn.init.ones_(gate.view(4, 4)),
    "loaded": lambda gate: nn.ParameterDict({"gate": nn.Parameter(gate)}).load_state_dict({"gate": torch.ones(16)}),
}


@pytest.mark.parametrize("way", WRITES)
def test_whatever_may_have_written_it_is_taken_to_have(way: str) -> None:
    assert "INI601" not in [finding.code for finding in found(lambda: Gated(WRITES[way]))]


def deferred_stack() -> nn.Sequential:
    with torch.device("meta"):
        return nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 4))


def test_memory_without_initialisation() -> None:
    def factory() -> nn.Module:
        return deferred_stack().to_empty(device="cpu")

    (finding,) = found(factory)
    assert finding.code == "INI601"
    assert finding.message.startswith("nothing ever wrote 6 parameters")
    assert "to_empty" in finding.cause
    assert finding.location is not None
    assert finding.location.line == line_of(__file__, "return deferred_stack().to_empty")


def test_memory_with_initialisation() -> None:
    def factory() -> nn.Module:
        model = deferred_stack().to_empty(device="cpu")
        for layer in model:
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        return model

    assert found(factory) == []


def test_memory_that_comes_later() -> None:
    class Later(Square):
        def __init__(self) -> None:
            with torch.device("meta"):
                super().__init__()

    assert "INI601" not in [finding.code for finding in found(Later)]


def test_skip_init() -> None:
    (finding,) = found(lambda: nn.Sequential(nn.utils.skip_init(nn.Linear, 16, 8), nn.ReLU(), nn.Linear(8, 4)))
    assert "skip_init" in finding.cause


def test_a_parameter_that_nothing_reads_is_not_an_error() -> None:
    class Model(Mlp):
        def build(self) -> None:
            self.spare = nn.Parameter(torch.empty(16, 16))

    assert found(Model) == []


def test_lazy_layers_are_written_when_they_get_their_shape() -> None:
    assert found(lambda: (nn.Sequential(nn.LazyLinear(8), nn.ReLU(), nn.LazyLinear(4)), torch.zeros(2, 16))) == []


def tied() -> object:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(32, 16, padding_idx=0)
            self.mix = nn.Linear(16, 16)
            self.head = nn.Linear(16, 32, bias=False)
            self.head.weight = self.tokens.weight
            self.apply(self.draw)

        def draw(self, module: nn.Module) -> None:
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.mix(self.tokens(ids))))

    return Model(), torch.zeros(2, 5, dtype=torch.int64)


def adapted() -> nn.Module:
    class Adapter(nn.Module):
        def __init__(self, base: nn.Linear) -> None:
            super().__init__()
            self.base = base
            self.down = nn.Parameter(base.weight.new_zeros((2, base.in_features)))
            self.up = nn.Parameter(base.weight.new_zeros((base.out_features, 2)))
            nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
            nn.init.zeros_(self.up)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.base(x) + x @ self.down.T @ self.up.T

    model = Mlp()
    model.apply(model.draw)
    model.layers = nn.ModuleList(Adapter(layer) for layer in model.layers)
    return model


def parametrised() -> nn.Module:
    model = nn.Sequential(
        parametrizations.weight_norm(nn.Linear(16, 16)), nn.ReLU(), parametrizations.spectral_norm(nn.Linear(16, 4))
    )
    nn.init.orthogonal_(model[0].parametrizations.weight.original1)
    return model


def attention() -> object:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
            self.norm = nn.RMSNorm(16)
            self.head = nn.Linear(16, 4)
            for parameter in self.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.norm(x + self.attention(x, x, x)[0]))

    return Model(), torch.zeros(2, 5, 16)


HEALTHY: dict[str, Callable[[], object]] = {
    "tied": tied,
    "adapted": adapted,
    "parametrised": parametrised,
    "attention": attention,
    "transformer": lambda: (
        nn.Transformer(16, 2, 1, 1, 32, batch_first=True),
        (torch.zeros(2, 5, 16), torch.zeros(2, 5, 16)),
    ),
    "batch norm": lambda: nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4)),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy(name: str) -> None:
    assert [finding for finding in found(HEALTHY[name]) if finding.code in CODES] == []


def architectures() -> dict[str, Callable[[], nn.Module]]:
    sys.path.insert(0, str(HERE.parent / "sources" / "torch"))
    try:
        from architectures import HUB, PLAIN
    finally:
        sys.path.pop(0)
    return {**PLAIN, **HUB}


ARCHITECTURES = architectures()


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architectures_are_healthy(name: str) -> None:
    """The past alone, whatever the forward pass reads: not all of them have a forward pass."""
    from initcheck.construction import Construction
    from initcheck.graph import Graph
    from initcheck.sources.torch.build import build
    from initcheck.sources.torch.locate import Locator
    from initcheck.sources.torch.past import construction_of

    root = HERE.parent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        built = build(ARCHITECTURES[name], max_memory=1 << 30, root=root)
        locator = Locator(built.module, root)
        construction, note = construction_of(built.module, built, frozenset(built.parameters), locator, root)
    assert isinstance(construction, Construction)
    assert note == ""
    graph = Graph((), (), (), "", {}, {}, {}, construction=construction)
    loud = [finding for code in CODES for finding in findings(code, graph) if finding.severity is not Severity.NOTE]
    assert loud == []


def test_a_file_has_no_past() -> None:
    (rule,) = (rule for rule in RULES if rule.code == "INI601")
    graph = rule.good()
    assert Need.CONSTRUCTION not in Analysis(graph).missing_needs()
    assert Need.CONSTRUCTION in Analysis(graph, assume_init="kaiming_normal").missing_needs()
    assert Need.CONSTRUCTION in Analysis(RULES[0].bad()).missing_needs()
