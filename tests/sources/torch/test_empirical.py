"""The comparison that the other tests rely on notices a wrong law."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from empirical import compare, draws
from torch import nn

from initcheck.sources.torch.build import build


@pytest.mark.parametrize(
    "error", [{"variance": 1.06 / 270}, {"variance": 0.94 / 270}, {"mean": 0.002}, {"maximum": 0.1}]
)
def test_a_wrong_law_is_noticed(error: dict[str, float]) -> None:
    def factory() -> nn.Module:
        return nn.Linear(90, 120)

    tensor = build(factory, max_memory=0, root=Path(__file__).parent).parameters["weight"]
    values = draws(factory)["weight"]
    assert compare(tensor, values).right
    assert not compare(replace(tensor, distribution=replace(tensor.distribution, **error)), values).right
