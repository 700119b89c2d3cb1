"""What becomes of operators, weights seen through views, outputs."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from as_built import as_built
from torch import nn
from torch.nn import functional

from initcheck.graph import Graph, Node, Op
from initcheck.sources.torch.calls import Ref
from initcheck.sources.torch.load import graph_of
from initcheck.sources.torch.outputs import main_output

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent


class Calls(nn.Module):
    """A function of the input and of some parameters."""

    def __init__(self, function: Callable[..., Any], **parameters: tuple[int, ...]) -> None:
        super().__init__()
        for name, shape in parameters.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x, *self.parameters())


def graph(function: Callable[..., Any], x: torch.Tensor | None = None, **parameters: tuple[int, ...]) -> Graph:
    example = torch.randn(2, 6, 8) if x is None else x
    return graph_of(as_built(Calls(function, **parameters), example), root=HERE)


def only(result: Graph, op: Op) -> Node:
    (node,) = [node for node in result.nodes if node.op is op]
    return node


WEIGHTS = {
    "as it is": (lambda x, w: x @ w, (8, 5), 1),
    "transposed": (lambda x, w: x @ w.t(), (5, 8), 0),
    "linear": (functional.linear, (5, 8), 0),
    "reshaped": (lambda x, w: functional.linear(x, w.view(5, 8)), (5, 8, 1, 1), 0),
    "cast": (lambda x, w: functional.linear(x, w.double().float()), (5, 8), 0),
    "detached": (lambda x, w: functional.linear(x, w.detach().contiguous()), (5, 8), 0),
    "permuted": (lambda x, w: functional.linear(x, w.permute(1, 0)), (8, 5), 1),
    "einsum": (lambda x, w: torch.einsum("btd,kd->btk", x, w), (5, 8), 0),
    "split heads": (lambda x, w: torch.einsum("btd,dhk->bthk", x, w).flatten(2), (8, 2, 3), None),
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_weight_is_seen_through_what_only_moves_it(name: str) -> None:
    function, shape, out_axis = WEIGHTS[name]
    result = graph(function, w=shape)
    node = only(result, Op.LINEAR)
    assert node.inputs[1] == "w"
    assert node.attributes["fan_in"] == 8
    assert node.attributes["fan_out"] == np.prod(shape) // 8
    assert node.attributes["out_axis"] == out_axis


def test_part_of_a_weight_has_the_law_of_the_whole_and_a_name_of_its_own() -> None:
    result = graph(lambda x, w: functional.linear(x, w[:8]) + functional.linear(x, w[8:]), w=(16, 8))
    names = [node.inputs[1] for node in result.nodes if node.op is Op.LINEAR]
    assert len(set(names)) == 2
    assert all(name.startswith("w[") for name in names)
    assert all(result.parameters[name].shape == (8, 8) for name in names)
    assert result.parameters[names[0]].distribution.size == 64


def test_a_scaled_weight_has_the_scaled_law() -> None:
    result = graph(lambda x, w: functional.linear(x, w / 4), w=(64, 8))
    weight = result.parameters[only(result, Op.LINEAR).inputs[1]]
    assert weight.distribution.variance == pytest.approx(1 / 16, rel=5 * (2 / 512) ** 0.5)


def test_a_computed_weight_is_a_weight() -> None:
    result = graph(lambda x, u, v: functional.linear(x, u @ v), u=(32, 4), v=(4, 8))
    weight = result.parameters[only(result, Op.LINEAR).inputs[1]]
    assert weight.shape == (32, 8)
    assert weight.distribution.variance == pytest.approx(4, rel=0.9)


FUNCTIONS = {
    "relu": torch.relu,
    "relu6": functional.relu6,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.2),
    "softplus": lambda x: functional.softplus(x, beta=2.0),
    "power": lambda x: x**2,
    "clip": lambda x: x.clamp(-1, 2),
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "exp": torch.exp,
    "elu": functional.elu,
    "mish": functional.mish,
    "hard_swish": functional.hardswish,
    "thresholded_relu": lambda x: functional.threshold(x, 0.5, 0.0),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_keep_their_name_and_arguments(name: str) -> None:
    from initcheck.signal.functions import FUNCTIONS as KNOWN

    node = only(graph(FUNCTIONS[name]), Op.ELEMENTWISE)
    assert node.attributes["function"] == node.kind == name
    x = np.linspace(-3.0, 3.0, 61)
    expected = FUNCTIONS[name](torch.from_numpy(x)).numpy()
    assert KNOWN[name].value(x, **node.attributes["arguments"]) == pytest.approx(expected, abs=1e-6)


SPELLED = {
    "silu": lambda x: x * torch.sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + torch.erf(x / 2**0.5)),
    "softsign": lambda x: x / (1 + x.abs()),
}


@pytest.mark.parametrize("name", SPELLED)
def test_functions_spelled_out_are_recognised(name: str) -> None:
    result = graph(SPELLED[name])
    assert [node.kind for node in result.nodes] == [name]


def test_normalisations_spelled_out_are_recognised() -> None:
    def rms(x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return gain * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))

    def layer(x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + 1e-5)

    node = only(graph(rms, gain=(8,)), Op.NORMALIZE)
    assert node.attributes["kind"] == "rms"
    assert node.inputs[1] == "gain"
    assert only(graph(layer), Op.NORMALIZE).attributes["kind"] == "layer"


UNIT_LENGTH = {
    "functional": lambda x: functional.normalize(x, dim=-1),
    "norm": lambda x: x / x.norm(p=2, dim=-1, keepdim=True),
    "norm and a small number": lambda x: x / (x.norm(dim=-1, keepdim=True) + 1e-6),
    "root of a sum": lambda x: x / x.pow(2).sum(-1).sqrt().unsqueeze(-1),
    "reciprocal root": lambda x: x * torch.rsqrt((x * x).sum(-1, keepdim=True) + 1e-12),
}


@pytest.mark.parametrize("name", UNIT_LENGTH)
def test_a_value_over_its_euclidean_norm_is_normalised_to_that_length(name: str) -> None:
    node = only(graph(UNIT_LENGTH[name]), Op.NORMALIZE)
    assert node.attributes["kind"] == "rms"
    assert node.attributes["length"] == pytest.approx(8**-0.5)


def test_a_value_over_the_norm_of_another_is_no_normalisation() -> None:
    result = graph(lambda x: x / torch.relu(x).norm(dim=-1, keepdim=True))
    assert not any(node.op is Op.NORMALIZE for node in result.nodes)


GATES = {
    "drop path": lambda x: x.div(0.8) * torch.floor(0.8 + torch.rand((2, 1, 1))),
    "bernoulli": lambda x: x * x.new_empty((2, 1, 1)).bernoulli_(0.8).div_(0.8),
    "below": lambda x: x * (torch.rand((2, 1, 1)) < 0.8).float() / 0.8,
}


@pytest.mark.parametrize("name", GATES)
def test_random_gates_are_dropout(name: str) -> None:
    result = graph(GATES[name])
    assert only(result, Op.DROPOUT).attributes["rate"] == pytest.approx(0.2)
    assert not any(node.op is Op.OPAQUE for node in result.nodes)


def test_what_no_input_reaches_is_folded() -> None:
    def masked(x: torch.Tensor) -> torch.Tensor:
        ones = torch.ones(6, 6, device=x.device)
        mask = torch.full((6, 6), -1e9, device=x.device).masked_fill(torch.tril(ones) > 0, 0.0)
        mask[0, 0] = 0.0
        return torch.softmax(x @ x.transpose(1, 2) + mask, dim=-1)

    result = graph(masked)
    (constant,) = result.constants.values()
    assert np.array_equal(constant.array == 0.0, np.tril(np.ones((6, 6))) > 0)
    assert [node.op for node in result.nodes] == [Op.TRANSPOSE, Op.MATMUL, Op.ADD, Op.SOFTMAX]


def test_an_unknown_operator_is_opaque_and_names_itself() -> None:
    node = only(graph(lambda x: torch.cumprod(x, dim=1)), Op.OPAQUE)
    assert node.attributes["type"] == "aten::cumprod"


def test_writes_in_place_are_followed() -> None:
    def function(x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        y.mul_(3.0).relu_()
        return y

    result = graph(function)
    assert [node.op for node in result.nodes if node.op is not Op.IDENTITY] == [Op.MUL, Op.ELEMENTWISE]


def test_tied_parameters_are_one() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(20, 8)
            self.head = nn.Linear(8, 20, bias=False)
            self.head.weight = self.tokens.weight

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.head(self.tokens(ids))

    result = graph_of(as_built(Tied()), root=HERE)
    assert list(result.parameters) == ["tokens.weight"]
    assert [node.path for node in result.nodes] == ["tokens", "head"]
    assert result.parameter_count == 160


def test_unused_parameters_are_listed() -> None:
    assert list(graph(lambda x, w, other: x @ w, w=(8, 8), other=(3, 3)).unused) == ["other"]


@dataclass
class Output:
    loss: Any
    logits: Any


Pair = namedtuple("Pair", ["hidden", "last_hidden_state"])


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        (Ref("a"), "a"),
        ((Ref("ids"), Ref("a")), "a"),
        ({"loss": Ref("a"), "logits": Ref("b")}, "b"),
        (Output(Ref("a"), Ref("b")), "b"),
        ({"loss": Ref("a"), "logits": {"head": Ref("b")}}, "b"),
        ({"loss": Ref("a"), "logits": (Ref("b"), Ref("a"))}, "b"),
        (Pair(Ref("a"), Ref("b")), "b"),
        ([{"nested": [Ref("b")]}], "b"),
        ((Ref("ids"),), ""),
    ],
)
def test_main_output(outputs: Any, expected: str) -> None:
    from initcheck.graph import Value

    values = {"a": Value((1,)), "b": Value((1,)), "ids": Value((1,), "int64")}
    assert main_output(outputs, values) == expected


def test_a_standardised_weight_is_a_weight() -> None:
    def standardised(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        flat = functional.batch_norm(w.reshape(1, 16, -1), None, None, training=True)
        return functional.conv1d(x.transpose(1, 2), flat.reshape(16, 8, 3)).transpose(1, 2)

    result = graph(standardised, w=(16, 8, 3))
    node = only(result, Op.CONV)
    assert not [other for other in result.nodes if other.op in {Op.OPAQUE, Op.NORMALIZE}]
    weight = result.parameters[node.inputs[1]]
    assert weight.distribution.variance == pytest.approx(1.0, rel=1e-3)
