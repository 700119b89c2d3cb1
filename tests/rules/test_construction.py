"""The rules on construction, through real factories."""

from __future__ import annotations

import math
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from rule_networks import findings
from torch import nn
from torch.nn.utils import parametrizations

from initcheck import Analysis, Need, Severity
from initcheck.consolidate import consolidate
from initcheck.sources.torch.load import load
from initcheck.testing import run_rule
from initcheck_rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck import Finding, Graph

HERE = Path(__file__).resolve().parent
CODES = ("INI601", "INI602", "INI603")


def graph_of(factory: Callable[[], object], root: Path = HERE) -> Graph:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load(factory, root=root)


def found(factory: Callable[[], object], root: Path = HERE) -> list[Finding]:
    """Findings on construction, and on what was not understood."""
    graph = graph_of(factory, root)
    everything = [finding for rule in RULES for finding in run_rule(rule(), graph)]
    kept = consolidate(everything, {rule.code: rule.subsumes for rule in RULES})
    return [finding for finding in kept if finding.code in (*CODES, "INI901")]


def brief(factory: Callable[[], object]) -> list[str]:
    return [f"{finding.severity} {finding.code}" for finding in found(factory)]


def line_of(text: str, after: str = "") -> int:
    """Line of this file that holds a text, the first one behind another text."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    start = next((number for number, line in enumerate(lines) if after in line), 0)
    return next(number + 1 for number, line in enumerate(lines) if number >= start and text in line)


class Mlp(nn.Module):
    """Hidden layers and a head; ``build`` is what subclasses do after the layers are made."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(16, 16) for _ in range(4))
        self.head = nn.Linear(16, 4)
        self.build()

    def build(self) -> None:
        """Nothing, so that the layers keep their default."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x))
        return self.head(x)

    def draw(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)


# INI601


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
    assert (finding.location.file, finding.location.line) == ("test_construction.py", line_of("self.gate = nn.Par"))
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
    assert finding.location.line == line_of("return deferred_stack().to_empty")


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


# INI602


class Norm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


class Normed(Mlp):
    def build(self) -> None:
        self.norm = Norm()
        self.init_weights()

    def init_weights(self) -> None:
        self.apply(self.draw)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.norm(x))


class NormedOnDevice(Normed):
    def init_weights(self, device: torch.device | None = None) -> None:
        super().init_weights()


def test_a_class_of_modules_that_the_method_forgets() -> None:
    (finding,) = found(NormedOnDevice)
    assert (finding.code, finding.severity) == ("INI602", Severity.ERROR)
    assert "norm.weight" in finding.message
    assert "takes the argument device" in finding.cause
    assert finding.help.endswith("nn.init.constant_(module.weight, 1)")


def test_it_is_a_note_where_nothing_shows_that_the_model_is_deferred() -> None:
    assert brief(Normed) == ["note INI602"]


def test_it_is_an_error_where_the_factory_leaves_it_on_the_meta_device() -> None:
    class Later(Normed):
        def __init__(self) -> None:
            with torch.device("meta"):
                super().__init__()

    assert brief(Later) == ["error INI602"]


def test_layers_that_reset_themselves_lose_what_the_constructor_chose() -> None:
    class Chosen(Mlp):
        def build(self) -> None:
            for layer in self.layers:
                nn.init.orthogonal_(layer.weight)

    class Later(Chosen):
        def __init__(self) -> None:
            with torch.device("meta"):
                super().__init__()

    assert found(Chosen) == [], "nobody says that it is deferred"
    (finding,) = found(Later)
    assert (finding.code, finding.severity) == ("INI602", Severity.WARNING)
    assert "4 of 5 weights" in finding.message
    assert finding.evidence["parameters"]["layers.0.weight"]["factory"] == "orthogonal"


def test_what_the_constructor_does_after_the_method_is_lost() -> None:
    class Model(NormedOnDevice):
        def build(self) -> None:
            super().build()
            nn.init.zeros_(self.head.weight)

        def init_weights(self, device: torch.device | None = None) -> None:
            super().init_weights(device)
            nn.init.ones_(self.norm.weight)

    (finding,) = found(Model)
    assert (finding.code, finding.severity) == ("INI602", Severity.WARNING)
    assert "head.weight is zeros from the factory, xavier_uniform deferred" in finding.message


def test_a_method_that_the_factory_never_calls() -> None:
    class Model(Mlp):
        def init_weights(self, device: torch.device | None = None) -> None:
            self.apply(self.draw)

    (finding,) = found(Model)
    assert (finding.code, finding.severity) == ("INI602", Severity.NOTE)
    assert "never calls init_weights()" in finding.message


def test_a_method_that_does_everything() -> None:
    class Model(NormedOnDevice):
        def init_weights(self, device: torch.device | None = None) -> None:
            super().init_weights(device)
            nn.init.ones_(self.norm.weight)

    assert found(Model) == []


def test_a_buffer_that_the_constructor_alone_fills() -> None:
    class Model(Mlp):
        def build(self) -> None:
            self.register_buffer("scale", torch.arange(1.0, 17.0), persistent=False)
            self.init_weights()

        def init_weights(self, device: torch.device | None = None) -> None:
            self.apply(self.draw)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x * self.scale)

    (finding,) = found(Model)
    assert (finding.code, finding.severity) == ("INI602", Severity.ERROR)
    assert "1 buffer unwritten" in finding.message


def test_a_helper_for_part_of_the_model_is_no_route() -> None:
    class Model(Mlp):
        def build(self) -> None:
            self.init_weights()

        def init_weights(self) -> None:
            nn.init.zeros_(self.head.bias)

    assert found(Model) == []


def test_a_method_that_fails_is_not_compared() -> None:
    class Model(Mlp):
        def init_weights(self) -> None:
            raise FileNotFoundError("weights.bin")

    assert found(Model) == []
    notes = [note for note in graph_of(Model).notes if "init_weights" in note]
    assert notes == ["init_weights() was not compared with the factory, since it raises FileNotFoundError: weights.bin"]


def test_ties_that_the_method_restores() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(32, 16)
            self.head = nn.Linear(16, 32, bias=False)
            self.head.weight = self.tokens.weight
            self.init_weights()

        def init_weights(self, device: torch.device | None = None) -> None:
            nn.init.normal_(self.tokens.weight, std=0.02)
            self.head.weight = self.tokens.weight

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.head(self.tokens(ids))

    assert found(lambda: (Model(), torch.zeros(2, 5, dtype=torch.int64))) == []


def hub_classifier(**members: Any) -> Callable[[], nn.Module]:
    """A user's own subclass of transformers' base class."""
    transformers = pytest.importorskip("transformers")

    class Config(transformers.PretrainedConfig):
        model_type = "mine"

    class Classifier(transformers.PreTrainedModel):
        config_class = Config
        chooses_before = False

        def __init__(self, config: Any) -> None:
            super().__init__(config)
            self.fc = nn.Linear(16, 16)
            self.norm = Norm()
            self.head = nn.Linear(16, 4)
            if self.chooses_before:
                nn.init.orthogonal_(self.head.weight)
            self.post_init()

        def _init_weights(self, module: nn.Module) -> None:
            super()._init_weights(module)
            if isinstance(module, Norm) and self.knows_norm:
                nn.init.ones_(module.weight)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.norm(self.fc(x))))

    kind = type("Classifier", (Classifier,), {"knows_norm": True, "__qualname__": Classifier.__qualname__, **members})
    return lambda: (kind(Config(initializer_range=0.02)), torch.zeros(2, 16))


def test_transformers_promises_to_initialise_everything() -> None:
    (finding,) = found(hub_classifier(knows_norm=False))
    assert (finding.code, finding.severity) == ("INI602", Severity.ERROR)
    assert "norm.weight" in finding.message
    assert found(hub_classifier()) == []


# INI603


def test_a_custom_initialisation_before_post_init() -> None:
    (finding,) = found(hub_classifier(chooses_before=True))
    assert (finding.code, finding.severity) == ("INI603", Severity.WARNING)
    assert finding.message.startswith("orthogonal_ of head.weight is lost: normal_(0, 0.02)")
    assert finding.cause.endswith(f"test_construction.py:{line_of('self.post_init()')} comes later")
    assert finding.location is not None
    assert finding.location.line == line_of("nn.init.orthogonal_(self.head.weight)", "chooses_before:")


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
    assert finding.cause.startswith("draw() at test_construction.py:")
    assert finding.layers == ("head",)
    assert finding.location is not None
    assert finding.location.line == line_of("nn.init.zeros_(self.head.weight)", "class ZeroHeadFirst")
    assert f"test_construction.py:{line_of('self.apply', 'class ZeroHeadFirst')}" in finding.help


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
    assert [code for code in brief(built_by(KEPT[name])) if "INI602" not in code] == []


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
