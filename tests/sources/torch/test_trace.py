"""Every way of tracing gives the same graph, and says which way it was."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from as_built import as_built
from forwards import FORWARDS
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from initcheck.analysis import Analysis
from initcheck.errors import ModelLoadError
from initcheck.graph import Graph, Op
from initcheck.sources.torch.choose import choose_example, real_tensors
from initcheck.sources.torch.dispatch import dispatch_trace
from initcheck.sources.torch.export import export_trace
from initcheck.sources.torch.load import graph_of
from initcheck.sources.torch.locate import Locator
from initcheck.sources.torch.lower import graph_of_trace
from initcheck.sources.torch.trace import fake_tensors, restored

if TYPE_CHECKING:
    from initcheck.sources.torch.calls import Trace

HERE = Path(__file__).parent


def made(name: str) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    result = FORWARDS[name]()
    module, example = result if isinstance(result, tuple) else (result, None)
    return module.train(), example


def lowered(route: str, name: str) -> Graph:
    module, given = made(name)
    built = as_built(module, given)
    real = real_tensors(module, built)
    example = choose_example(module, built, None, real)
    trace: Trace
    if route == "export":
        trace = export_trace(module, example)
    elif route == "fake":
        tensors = fake_tensors(module, FakeTensorMode(allow_non_fake_inputs=True))
        trace = dispatch_trace(module, example, tensors, fake=True)
    else:
        assert real is not None
        trace = dispatch_trace(module, example, real(), fake=False)
    return graph_of_trace(trace, module, built, "", Locator(module, HERE))


def layers(graph: Graph) -> list[tuple[str, str, int]]:
    return [(layer.path, layer.kind, layer.fan_in) for layer in Analysis(graph).layers]


def lengths(graph: Graph) -> list[float]:
    return [segment.length_gain for segment in Analysis(graph).segments]


SOME = ("mlp", "norms", "unet", "encoder", "lstm", "in_place", "einsums", "weight_norm")
REST = sorted(set(FORWARDS) - {"branching", *SOME})


@pytest.mark.parametrize("name", [*SOME, *(pytest.param(name, marks=pytest.mark.slow) for name in REST)])
@pytest.mark.parametrize("route", ["fake", "real"])
def test_routes_agree(name: str, route: str) -> None:
    exported, other = lowered("export", name), lowered(route, name)
    assert layers(other) == layers(exported)
    if not any(node.op is Op.OPAQUE for node in exported.nodes):
        assert lengths(other) == pytest.approx(lengths(exported), abs=1e-6)


@pytest.mark.parametrize("name", sorted(FORWARDS))
def test_every_layer_is_lowered(name: str) -> None:
    module, given = made(name)
    graph = graph_of(as_built(module, given), root=HERE)
    analysis = Analysis(graph)
    assert analysis.weighted_layers > 0
    assert all(layer.understood for layer in analysis.layers)
    assert all(graph.values[output].shape is not None for node in graph.nodes for output in node.outputs)
    assert graph.main_output in graph.outputs
    assert not graph.unused or name == "branching"


def test_the_report_says_how_it_was_traced() -> None:
    plain, _ = made("mlp")
    assert "traced by torch.export" in graph_of(as_built(plain), root=HERE).notes
    branching, _ = made("branching")
    graph = graph_of(as_built(branching), root=HERE)
    note = next(note for note in graph.notes if note.startswith("traced by"))
    assert note.startswith("traced by forward pass on a small input, because torch.export: ")
    assert [name for name in graph.unused if name.startswith(("a.", "b."))] != []


class Failing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise KeyError("no such key")


def test_a_forward_pass_that_raises_is_one_clear_line() -> None:
    with pytest.raises(ModelLoadError, match=r"KeyError: 'no such key'") as caught:
        graph_of(as_built(Failing(), torch.randn(2, 4)), root=HERE)
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelLoadError, match="no example input fits forward"):
        graph_of(as_built(Failing()), root=HERE)


class Coin(nn.Module):
    """Skips layers by Python's generator, as stochastic depth is often written."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(16))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            if random.random() < 0.5:
                x = layer(x)
        return x


def test_coins_of_a_forward_pass_fall_alike() -> None:
    state = random.getstate()
    first, second = (graph_of(as_built(Coin(), torch.randn(2, 4)), root=HERE) for _ in range(2))
    assert [layer.path for layer in Analysis(first).layers] == [layer.path for layer in Analysis(second).layers]
    assert 0 < len(first.unused) < 32
    assert random.getstate() == state


class Packed(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.rnn = kind(4, 6, batch_first=True)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return self.rnn(packed)[0].data


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_packed_sequence_of_any_lengths_is_a_layer(kind: type[nn.RNNBase]) -> None:
    graph = graph_of(as_built(Packed(kind), (torch.randn(2, 5, 4), torch.tensor([5, 3]))), root=HERE)
    assert [(node.op, node.path) for node in graph.nodes if node.op in {Op.OPAQUE, Op.RECURRENT}] == [
        (Op.RECURRENT, "rnn")
    ]
    assert graph.values[graph.main_output].shape == (8, 6)


class Derivative(nn.Module):
    """A network that returns its derivative by its input as well, as those of differential equations do."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x = x.requires_grad_(requires_grad=True)
        y = self.layers(x)
        return y, torch.autograd.grad(y.sum(), x, create_graph=True)[0]


def test_a_forward_pass_may_differentiate() -> None:
    graph = graph_of(as_built(Derivative(), torch.randn(4, 2)), root=HERE)
    assert [node.path for node in graph.nodes if node.op is Op.LINEAR][:2] == ["layers.0", "layers.2"]
    assert graph.values[graph.outputs[0]].shape == (4, 1)
    assert graph.values[graph.outputs[1]].shape == (4, 2)


class Caching(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)
        self.cache = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.cache = self.fc(x)
        self.calls = 1
        return self.cache


def test_what_a_forward_pass_leaves_in_the_module_is_put_back() -> None:
    module = Caching()
    graph_of(as_built(module), root=HERE)
    assert module.cache is None
    assert not hasattr(module, "calls")


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.fc(x)))


def test_a_module_called_twice_keeps_one_path_and_one_weight() -> None:
    graph = graph_of(as_built(Twice()), root=HERE)
    calls = [node for node in graph.nodes if node.op is Op.LINEAR]
    assert [node.path for node in calls] == ["fc", "fc"]
    assert calls[0].inputs[1] == calls[1].inputs[1] == "fc.weight"


class Leaves(nn.Module):
    """Installs hooks and fills caches in its first forward pass, as libraries that collect outputs do."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.cache, self.seen = nn.Linear(4, 4), {"shape": None}, [0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not hasattr(self, "installed"):
            self.installed = True
            self.fc.register_forward_hook(lambda module, args, output: output + 1.0)
            self.register_buffer("table", torch.ones(4), persistent=False)
        self.cache["x"] = x
        self.seen.append(len(self.seen))
        return self.fc(x)


def test_a_pass_leaves_nothing_behind() -> None:
    module, x = Leaves(), torch.ones(2, 4)
    cache, seen = module.cache, module.seen
    with restored(module):
        first = module(x)
    assert not hasattr(module, "installed")
    assert not module.fc._forward_hooks
    assert not dict(module.named_buffers())
    assert (module.cache, module.seen) == ({"shape": None}, [0])
    assert module.cache is cache
    assert module.seen is seen
    with restored(module):
        assert torch.equal(module(x), first)
    assert set(module.fc.state_dict()) == {"weight", "bias"}
