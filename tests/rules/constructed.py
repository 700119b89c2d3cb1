"""Factories that the tests of the rules on construction share, and what is found in them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch import nn

from initcheck.consolidate import consolidate
from initcheck.sources.torch.load import load
from initcheck.testing import run_rules
from initcheck_rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck import Finding, Graph

__all__ = ["CODES", "HERE", "Mlp", "Norm", "brief", "found", "graph_of", "hub_classifier", "line_of"]

HERE = Path(__file__).resolve().parent
CODES = ("INI601", "INI602", "INI603")


def graph_of(factory: Callable[[], object], root: Path = HERE) -> Graph:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load(factory, root=root)


def found(factory: Callable[[], object], root: Path = HERE) -> list[Finding]:
    """Findings on construction, and on what was not understood."""
    graph = graph_of(factory, root)
    everything = run_rules([rule() for rule in RULES], graph)
    kept = consolidate(everything, {rule.code: rule.subsumes for rule in RULES})
    return [finding for finding in kept if finding.code in (*CODES, "INI901")]


def brief(factory: Callable[[], object]) -> list[str]:
    return [f"{finding.severity} {finding.code}" for finding in found(factory)]


def line_of(file: str, text: str, after: str = "") -> int:
    """Line of a file that holds a text, the first one behind another text."""
    lines = Path(file).read_text(encoding="utf-8").splitlines()
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


class Norm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.weight


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
