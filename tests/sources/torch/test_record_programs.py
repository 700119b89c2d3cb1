"""Random programs of writes: a law is right or unknown, whatever is done to a tensor."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from empirical import compare, draws
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import init

from initcheck.sources.torch.build import build

ROOT = Path(__file__).resolve().parent

Step = Callable[[nn.Parameter, torch.Tensor], object]

INITIALISE: tuple[Step, ...] = (
    lambda w, _: init.uniform_(w, -0.3, 0.5),
    lambda w, _: init.trunc_normal_(w, std=0.5, a=-0.7, b=0.9),
    lambda w, _: init.orthogonal_(w, 1.3),
    lambda w, _: init.sparse_(w, 0.3, 0.4),
    lambda w, _: init.eye_(w),
    lambda w, _: init.constant_(w, 0.7),
    lambda w, _: w.bernoulli_(0.3),
    lambda w, x: w.copy_(x),
)
ARITHMETIC: tuple[Step, ...] = (
    lambda w, _: w.mul_(0.5),
    lambda w, _: w.div_(math.sqrt(3)).add_(0.25),
    lambda w, _: w.copy_(1 - w),
    lambda w, _: setattr(w, "data", -w.data * 1.5),
    lambda w, _: setattr(w, "data", w.data.half().float()),
    lambda w, x: w.add_(x),
    lambda w, x: w.copy_(x - 2 * w),
    lambda w, _: w.add_(w),
    lambda w, _: w.mul_(w),
    lambda w, x: w.add_(x - x),
    lambda w, x: w.lerp_(x, 0.3),
    lambda w, _: w.clamp_(-0.2, 0.4),
    lambda w, _: w.abs_(),
    lambda w, _: w.copy_(w.clamp(-1, 1).exp()),
    lambda w, _: w.masked_fill_(w > 0, 0.1),
    lambda w, x: w.mul_(x.sign()),
    lambda w, _: w.sub_(w.mean()),
)
PARTS: tuple[Step, ...] = (
    lambda w, _: w[: len(w) // 3].zero_(),
    lambda w, _: w[len(w) // 4 :].mul_(2),
    lambda w, _: w[:, 5:].normal_(0, 0.3),
    lambda w, _: w.t()[:9].uniform_(-1, 1),
    lambda w, _: [init.orthogonal_(part) for part in w.chunk(2, 1)],
    lambda w, _: [init.xavier_uniform_(part) for part in w.chunk(4)],
    lambda w, _: init.eye_(w[:7, :8]),
    lambda w, _: w[::2, 1::3].fill_(0.5),
    lambda w, _: w[0].copy_(torch.linspace(0, 1, w.shape[1])),
    lambda w, _: w.view(-1)[30:200].normal_(0, 0.1),
    lambda w, _: w.fill_diagonal_(1.0),
)
SHUFFLES: tuple[Step, ...] = (
    lambda w, _: w.copy_(w[:1].clone()),
    lambda w, _: w.copy_(w.flip(0)),
    lambda w, _: w.copy_(w[torch.randperm(len(w))]),
    lambda w, _: setattr(w, "data", torch.cat([w.data[: len(w) // 2], torch.zeros(len(w) - len(w) // 2, w.shape[1])])),
    lambda w, _: setattr(w, "data", torch.stack(list(w.data))),
    lambda w, _: w.add_(torch.randn(w.shape[1]) * 0.3),
    lambda w, _: w.copy_(torch.randn(len(w), 1).expand_as(w)),
    lambda w, x: w.add_(x.view(x.shape[1], x.shape[0]).t()),
    lambda w, _: w.tril_(),
)


@given(
    st.lists(st.one_of(*(st.sampled_from(steps) for steps in (INITIALISE, ARITHMETIC, PARTS, SHUFFLES))), max_size=4),
    st.sampled_from([(24, 30), (72, 66)]),
)
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
def test_a_law_is_right_or_unknown(steps: list[Step], shape: tuple[int, int]) -> None:
    def factory() -> nn.Module:
        module = nn.Module()
        module.weight = nn.Parameter(torch.randn(shape))
        other = torch.randn(shape) * 0.5
        with torch.no_grad():
            for step in steps:
                step(module.weight, other)
        return module

    built = build(factory, max_memory=0, root=ROOT)
    assert built.on_meta
    result = compare(built.parameters["weight"], draws(factory)["weight"])
    assert result.right, result.text
