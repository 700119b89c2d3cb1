"""INI602 through real factories."""

from __future__ import annotations

import torch
from constructed import Mlp, Norm, brief, found, graph_of, hub_classifier
from torch import nn

from initcheck import Severity


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


class Callback(Mlp):
    """A callback for all layers, then a choice of the constructor's."""

    def build(self) -> None:
        self.norm = Norm()
        self.apply(self._init_weights)
        nn.init.normal_(self.head.weight, std=0.01)

    def _init_weights(self, module: nn.Module) -> None:
        self.draw(module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.norm(x))


def test_a_callback_that_forgets_a_class_of_modules() -> None:
    (finding,) = found(Callback)
    assert (finding.code, finding.severity) == ("INI602", Severity.NOTE)
    assert (
        "apply(_init_weights) leaves 1 parameter unwritten that the forward pass reads: norm.weight" in finding.message
    )


def test_a_callback_that_counts_on_the_constructor() -> None:
    class Model(Callback):
        def _init_weights(self, module: nn.Module) -> None:
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight)

    assert found(Model) == [], "it leaves biases as they are, so it was never meant to write everything"


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


def test_transformers_promises_to_initialise_everything() -> None:
    (finding,) = found(hub_classifier(knows_norm=False))
    assert (finding.code, finding.severity) == ("INI602", Severity.ERROR)
    assert "norm.weight" in finding.message
    assert found(hub_classifier()) == []
