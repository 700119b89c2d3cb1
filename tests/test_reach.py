"""Parameters that no gradient ever reaches, against training with autograd."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from initcheck import Analysis, Builder, Graph, Op

WIDTH = 4


class Random(nn.Module):
    """A chain of linear maps, functions, gates and residual additions, some of whose factors are zero."""

    def __init__(self, steps: list[tuple[str, bool]]) -> None:
        super().__init__()
        self.steps = steps
        self.weights = nn.ParameterList(
            nn.Parameter(torch.zeros(WIDTH, WIDTH) if zero else torch.randn(WIDTH, WIDTH) / WIDTH**0.5)
            if kind in {"linear", "branch"}
            else nn.Parameter(torch.zeros(WIDTH) if zero else torch.randn(WIDTH))
            for kind, zero in steps
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = x
        for (kind, _), weight in zip(self.steps, self.weights, strict=True):
            if kind == "linear":
                x = x @ weight.t()
            elif kind == "branch":
                kept, x = x, x @ weight.t()
            elif kind == "gate":
                x = x * weight
            elif kind == "bias":
                x = x + weight
            elif kind == "relu":
                x = torch.relu(x)
            elif kind == "tanh":
                x = torch.tanh(x)
            else:
                x = x + kept
        return x


def as_graph(steps: list[tuple[str, bool]]) -> tuple[Graph, dict[int, str]]:
    b = Builder((8, WIDTH))
    x = kept = b.x
    names: dict[int, str] = {}
    for k, (kind, zero) in enumerate(steps):
        if kind in {"linear", "branch"}:
            kept = x if kind == "branch" else kept
            x = b.linear(x, WIDTH, "zeros" if zero else "normal(0, 1)", bias=None, path=f"w{k}")
            names[k] = f"w{k}.weight"
        elif kind in {"gate", "bias"}:
            names[k] = b.parameter(f"p{k}", (WIDTH,), "zeros" if zero else "normal(0, 1)")
            x = b.combine(Op.MUL if kind == "gate" else Op.ADD, x, names[k])
        elif kind in {"relu", "tanh"}:
            x = b.activation(x, kind)
        elif x != kept:
            x = b.add(x, kept)
    return b.graph(x), names


def moves(steps: list[tuple[str, bool]], names: dict[int, str]) -> set[str]:
    """Parameters of zeros that a few hundred random steps of gradient descent move."""
    torch.manual_seed(0)
    module = Random(steps).double()
    zero = {k: name for k, name in names.items() if steps[k][1]}
    optimizer = torch.optim.SGD(module.parameters(), lr=1e-3)
    for _ in range(2 * len(steps) + 2):
        optimizer.zero_grad()
        out = module(torch.randn(64, WIDTH, dtype=torch.float64))
        if not out.requires_grad:
            return set()
        (out * torch.randn_like(out)).sum().backward()
        optimizer.step()
    return {name for k, name in zero.items() if bool(module.weights[k].detach().abs().max() > 0)}


kinds = st.sampled_from(["linear", "linear", "branch", "gate", "bias", "relu", "tanh", "join"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(kinds, st.booleans()), min_size=1, max_size=8))
def test_what_is_stuck_never_moves_and_what_is_not_does(steps: list[tuple[str, bool]]) -> None:
    graph, names = as_graph(steps)
    stuck = Analysis(graph).stuck
    zero = {name for k, name in names.items() if steps[k][1]}
    moved = moves(steps, names)
    assert not stuck & moved
    # What no path leads to the output from is neither.
    reachable = {name for name in zero if name in stuck or name in moved}
    assert zero == reachable


def test_zero_queries_and_keys_keep_attention_uniform() -> None:
    def network(key: str) -> frozenset[str]:
        b = Builder((4, 8, 16))
        query, keys = (b.linear(b.x, 16, init, path=name) for name, init in (("q", "zeros"), ("k", key)))
        value = b.linear(b.x, 16, path="v")
        x = b.node(Op.ATTENTION, (query, keys, value), (4, 8, 16), {"scale": 0.25, "causal": False})
        return Analysis(b.graph(b.linear(x, 4))).stuck & {"q.weight", "k.weight"}

    assert network("zeros") == {"q.weight", "k.weight"}
    assert network("kaiming_normal") == frozenset()


def test_a_zero_scale_behind_a_zero_convolution_stays_but_its_shift_does_not() -> None:
    b = Builder((4, 8, 6, 6))
    y = b.normalize(b.conv(b.x, 8, "zeros", bias=None, path="conv"), "batch", scale="zeros", path="norm")
    graph = b.graph(b.linear(b.pool(b.add(b.x, y)), 4))
    assert Analysis(graph).stuck == {"conv.weight", "norm.weight"}
