"""INI603 through real factories."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import constructed
import pytest
import torch
from constructed import Mlp, brief, found, hub_classifier, line_of
from torch import nn

from initcheck import Severity

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_custom_initialisation_before_post_init() -> None:
    (finding,) = found(hub_classifier(chooses_before=True))
    assert (finding.code, finding.severity) == ("INI603", Severity.WARNING)
    assert finding.message.startswith("orthogonal_ of head.weight is lost: normal_(0, 0.02)")
    assert finding.cause.endswith(f"constructed.py:{line_of(constructed.__file__, 'self.post_init()')} comes later")
    assert finding.location is not None
    assert finding.location.line == line_of(
        constructed.__file__, "nn.init.orthogonal_(self.head.weight)", "chooses_before:"
    )


class ZeroHeadFirst(Mlp):
    def build(self) -> None:
        nn.init.zeros_(self.head.weight)
        self.apply(self.draw)


class ZeroHeadLast(Mlp):
    def build(self) -> None:
        self.apply(self.draw)
        nn.init.zeros_(self.head.weight)


def test_a_head_of_zeros_before_a_blanket() -> None:
    (finding,) = found(ZeroHeadFirst)
    assert (finding.code, finding.severity) == ("INI603", Severity.WARNING)
    assert "zeros_ of head.weight is lost: xavier_uniform_ replaces it, one line for 5 parameters" in finding.message
    assert finding.cause.startswith("draw() at test_construction_overwritten.py:")
    assert finding.layers == ("head",)
    assert finding.location is not None
    assert finding.location.line == line_of(__file__, "nn.init.zeros_(self.head.weight)", "class ZeroHeadFirst")
    assert f"test_construction_overwritten.py:{line_of(__file__, 'self.apply', 'class ZeroHeadFirst')}" in finding.help


def test_a_head_of_zeros_after_a_blanket() -> None:
    assert found(ZeroHeadLast) == []


class AdaLn(nn.Module):
    """A block whose modulation starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(16, 16)
        self.modulation = nn.Linear(16, 32)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scale, gate = self.modulation(x).chunk(2, -1)
        return x + gate * self.fc(x * (1 + scale))


class Dit(nn.Module):
    def __init__(self, *, again: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(AdaLn() for _ in range(3))
        self.head = nn.Linear(16, 4)
        self.initialize(again=again)

    def initialize(self, *, again: bool) -> None:
        def basic(module: nn.Module) -> None:
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.constant_(module.bias, 0)

        self.apply(basic)
        for block in self.blocks if again else ():
            nn.init.zeros_(block.modulation.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def test_modulations_of_zeros_in_the_constructor_of_a_block() -> None:
    (finding,) = found(lambda: Dit(again=False))
    assert finding.code == "INI603"
    assert "3 parameters (blocks.0.modulation.weight, ...)" in finding.message
    assert found(lambda: Dit(again=True)) == []


class Placed(nn.Module):
    """Raw parameters beside the layers, then one law for all that has more than one axis."""

    def __init__(self, places: float = 1.0, gate: float = 1.0, std: float = 0.25) -> None:
        super().__init__()
        self.fc, self.head = nn.Linear(16, 16), nn.Linear(16, 4)
        self.places, self.gate = nn.Parameter(torch.zeros(1, 8, 16)), nn.Parameter(torch.ones(1, 1, 16))
        nn.init.normal_(self.places, std=places)
        nn.init.constant_(self.gate, gate)
        nn.init.normal_(self.head.weight, std=std)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.25)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.unsqueeze(1) + self.places
        return self.head(x + self.gate * torch.relu(self.fc(x)))


@pytest.mark.parametrize("places", [0.02, 0.0])
def test_a_table_that_is_only_added_is_a_note(places: float) -> None:
    lost = [finding for finding in found(lambda: Placed(places)) if finding.layers == ("places",)]
    assert [(finding.code, finding.severity) for finding in lost] == [("INI603", Severity.NOTE)]


def test_a_gate_of_zeros_is_a_warning() -> None:
    lost = found(lambda: Placed(gate=0.0))
    assert [f.severity for f in lost if f.layers == ("gate",)] == [Severity.WARNING]


@pytest.mark.parametrize(("std", "severity"), [(0.2, Severity.NOTE), (0.3, Severity.NOTE), (0.02, Severity.WARNING)])
def test_a_law_of_about_the_same_size_is_a_note(std: float, severity: Severity) -> None:
    lost = found(lambda: Placed(std=std))
    severities = {finding.layers: finding.severity for finding in lost if finding.code == "INI603"}
    assert severities[("head",)] is severity


def test_parents_before_children_in_one_loop() -> None:
    class Model(Dit):
        def initialize(self, *, again: bool) -> None:
            for module in self.modules():
                if isinstance(module, AdaLn):
                    nn.init.normal_(module.fc.weight, std=0.01)
                elif isinstance(module, nn.Linear):
                    nn.init.xavier_uniform_(module.weight)

    lost = [finding.evidence["chosen"] for finding in found(lambda: Model(again=False)) if finding.code == "INI603"]
    assert sorted(lost) == ["normal_(0, 0.01)", "zeros_"]


LOST: dict[str, Callable[[Mlp], None]] = {}
KEPT: dict[str, Callable[[Mlp], None]] = {}


def lost(build: Callable[[Mlp], None]) -> Callable[[Mlp], None]:
    LOST[build.__name__] = build
    return build


def kept(build: Callable[[Mlp], None]) -> Callable[[Mlp], None]:
    KEPT[build.__name__] = build
    return build


@lost
def reset_afterwards(model: Mlp) -> None:
    nn.init.orthogonal_(model.head.weight)
    model.head.reset_parameters()


@lost
def everything_reset_afterwards(model: Mlp) -> None:
    for layer in model.layers:
        nn.init.orthogonal_(layer.weight)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.reset_parameters()


@lost
def a_loop_over_parameters(model: Mlp) -> None:
    model.head.weight.data.mul_(0.01)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)


@lost
def a_prior_in_a_bias(model: Mlp) -> None:
    nn.init.constant_(model.head.bias, -math.log(99))
    model.apply(model.draw)


@lost
def pretrained_rows(model: Mlp) -> None:
    model.head.weight.data.copy_(torch.arange(64.0).view(4, 16) / 64)
    model.apply(model.draw)


@lost
def a_helper_function(model: Mlp) -> None:
    def small(layer: nn.Linear) -> None:
        nn.init.normal_(layer.weight, std=1e-3)

    small(model.head)
    model.apply(model.draw)


@kept
def the_layers_default_first(model: Mlp) -> None:
    nn.init.orthogonal_(model.head.weight)


@kept
def the_specific_after_the_blanket(model: Mlp) -> None:
    model.apply(model.draw)
    nn.init.normal_(model.head.weight, std=0.01)
    for layer in model.layers[::2]:
        layer.weight.data.mul_(0.5)


@kept
def one_blanket_after_another(model: Mlp) -> None:
    model.apply(model.draw)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.orthogonal_(module.weight)


@kept
def the_same_law_again(model: Mlp) -> None:
    nn.init.xavier_uniform_(model.head.weight)
    model.apply(model.draw)


@kept
def one_layer_reset_after_a_law_for_all(model: Mlp) -> None:
    model.apply(model.draw)
    model.head.reset_parameters()


@kept
def another_choice_for_the_same_layer(model: Mlp) -> None:
    nn.init.orthogonal_(model.head.weight)
    nn.init.zeros_(model.head.weight)


@kept
def the_choice_made_again(model: Mlp) -> None:
    nn.init.zeros_(model.head.weight)
    model.apply(model.draw)
    nn.init.zeros_(model.head.weight)


@kept
def a_checkpoint_for_all(model: Mlp) -> None:
    nn.init.zeros_(model.head.weight)
    model.load_state_dict({name: torch.full_like(value, 0.1) for name, value in Mlp().state_dict().items()})


def built_by(build: Callable[[Mlp], None]) -> Callable[[], nn.Module]:
    def factory() -> nn.Module:
        model = Mlp()
        build(model)
        return model

    return factory


@pytest.mark.parametrize("name", LOST)
def test_lost(name: str) -> None:
    assert brief(built_by(LOST[name])) == ["warning INI603"]


@pytest.mark.parametrize("name", KEPT)
def test_kept(name: str) -> None:
    assert found(built_by(KEPT[name])) == []


def test_a_part_whose_law_the_whole_replaces_may_only_have_had_a_default() -> None:
    class Part(nn.Linear):
        def reset_parameters(self) -> None:
            nn.init.orthogonal_(self.weight)
            nn.init.zeros_(self.bias)

    class Model(Mlp):
        def build(self) -> None:
            self.head = Part(16, 4)
            self.apply(self.draw)

    assert found(Model) == []


def test_a_librarys_constructor_that_initialises_what_it_is_given() -> None:
    def factory() -> object:
        encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 1)
        nn.init.zeros_(encoder.layers[0].linear2.weight)
        model = nn.Transformer(16, 2, 1, 1, 32, batch_first=True, custom_encoder=encoder)
        return model, (torch.zeros(2, 5, 16), torch.zeros(2, 5, 16))

    (finding,) = found(factory)
    assert finding.message.startswith("zeros_ of encoder.layers.0.linear2.weight is lost: xavier_uniform_")
    assert finding.cause.startswith("_reset_parameters()")


def test_code_that_is_not_the_users_chooses_nothing(tmp_path: Path) -> None:
    assert [finding.code for finding in found(ZeroHeadFirst, tmp_path)] == []
