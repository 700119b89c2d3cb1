"""Rotary embeddings written with complex numbers are the rotation of pairs that they stand for."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from initcheck import Analysis, Op
from initcheck.sources.torch.load import load

TOKENS, WIDTH = 12, 16


def angles() -> torch.Tensor:
    return torch.outer(torch.arange(float(TOKENS)), 100.0 ** -torch.linspace(0.0, 1.0, WIDTH // 2))


class Rotated(nn.Module):
    """One head of attention whose queries and keys are turned by their position."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.query, self.key, self.value, self.head = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        nn.init.normal_(self.query.weight)
        nn.init.normal_(self.key.weight)
        self.form = form
        self.register_buffer("numbers", torch.polar(torch.ones(TOKENS, WIDTH // 2), angles()), persistent=False)

    def turned(self, x: torch.Tensor) -> torch.Tensor:
        pairs = x.float().reshape(*x.shape[:-1], -1, 2)
        if self.form == "real":
            cosine, sine = angles().cos(), angles().sin()
            first, second = pairs[..., 0], pairs[..., 1]
            return torch.stack([first * cosine - second * sine, first * sine + second * cosine], -1).flatten(2)
        numbers = self.numbers if self.form == "buffer" else torch.polar(torch.ones_like(angles()), angles())
        return torch.view_as_real(torch.view_as_complex(pairs) * numbers).flatten(2).type_as(x)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key = self.turned(self.query(x)), self.turned(self.key(x))
        weights = torch.softmax(query @ key.transpose(1, 2) / WIDTH**0.5, -1)
        return self.head(weights @ self.value(x))


@pytest.mark.parametrize("form", ["buffer", "computed"])
def test_a_product_with_unit_numbers_is_the_real_rotation(form: str) -> None:
    one, other = (
        Analysis(load(lambda f=f: (Rotated(f), torch.randn(4, TOKENS, WIDTH)), root=Path())) for f in (form, "real")
    )
    assert not one.forward.guessed
    assert all(node.op is not Op.OPAQUE for node in one.graph.nodes)
    (mine,), (theirs,) = one.attention, other.attention
    assert mine.logit_variance == pytest.approx(theirs.logit_variance, rel=1e-3)
    # The rows of both weights have length 4, which 1/√16 takes off one of them.
    assert mine.logit_variance == pytest.approx(16.0**2, rel=0.1)
    assert mine.same == pytest.approx(theirs.same, rel=0.01)


def test_other_products_of_complex_values_are_not_understood() -> None:
    class Filtered(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(16, 16), nn.Linear(16, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            pairs = torch.view_as_complex(self.first(x).reshape(-1, 8, 2))
            return self.head(torch.view_as_real(pairs * pairs).flatten(1))

    analysis = Analysis(load(lambda: (Filtered(), torch.randn(4, 16)), root=Path()))
    assert [node.attributes["type"] for node in analysis.graph.nodes if node.op is Op.OPAQUE] == [
        "aten::view_as_complex",
        "aten::mul",
        "aten::view_as_real",
    ]
