"""Runs code such as ``nn.init.zeros_(layer.bias)`` on a graph, without PyTorch: what it leaves is a law."""

from __future__ import annotations

import ast
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING

from initcheck.graph import WEIGHTED, Graph
from initcheck.schemes import init_fans, scheme_distribution

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from initcheck.graph import Node, Parameter

__all__ = ["run_initializers"]


def run_initializers(code: str, graph: Graph, layers: Collection[str]) -> Graph | None:
    """The graph once the code has run for each of the layers; None if it is not calls of ``nn.init`` alone.

    Args:
        code: Python in which ``layer`` is the module and ``nn`` is ``torch.nn``.
        graph: The model.
        layers: Paths of the layers.
    """
    if not _is_initialization(code):
        return None
    replaced: dict[str, Parameter] = {}
    for node in graph.nodes:
        if node.op in WEIGHTED and (node.path or node.name) in layers:
            tensors = {"weight": _tensor(graph.weight(node), node), "bias": _tensor(graph.bias(node), node)}
            exec(code, {"nn": SimpleNamespace(init=_INIT), "layer": SimpleNamespace(**tensors)})
            for tensor in tensors.values():
                if tensor is not None and tensor.scheme:
                    replaced[tensor.parameter.name] = tensor.drawn()
    return replace(graph, parameters={**graph.parameters, **replaced})


class _Tensor:
    """Stands for a parameter: knows its shape, and the scheme by which it was drawn last."""

    def __init__(self, parameter: Parameter, fans: tuple[int, int]) -> None:
        self.parameter = parameter
        self.shape = parameter.shape
        self.fans = fans
        self.scheme = ""

    def __getitem__(self, index: int) -> _Tensor:
        law = replace(self.parameter, shape=self.shape[1:])
        return _Tensor(law, self.fans)

    def numel(self) -> int:
        return math.prod(self.shape)

    def size(self, axis: int) -> int:
        return self.shape[axis]

    def drawn(self) -> Parameter:
        law = scheme_distribution(self.scheme, self.shape, *self.fans)
        return replace(self.parameter, distribution=law, rows=None, values=None, history=())


def _tensor(parameter: Parameter | None, node: Node) -> _Tensor | None:
    return _Tensor(parameter, init_fans(parameter.shape, node.attributes.get("out_axis", 0))) if parameter else None


def _is_initialization(code: str) -> bool:
    try:
        statements = ast.parse(code).body
    except SyntaxError:
        return False
    return bool(statements) and all(_initializer(statement) in vars(_INIT) for statement in statements)


def _initializer(statement: ast.stmt) -> str:
    """Name of the function in a statement ``nn.init.NAME(...)``, empty for any other."""
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        called = ast.unparse(statement.value.func)
        if called.startswith("nn.init."):
            return called.removeprefix("nn.init.")
    return ""


def _gain(nonlinearity: str, a: float = 0.01) -> float:
    """``nn.init.calculate_gain``."""
    gains: Mapping[str, float] = {
        "tanh": 5.0 / 3.0,
        "relu": math.sqrt(2.0),
        "leaky_relu": math.sqrt(2.0 / (1.0 + a * a)),
        "selu": 0.75,
    }
    return gains.get(nonlinearity, 1.0)


def _sets(scheme: Callable[..., str]) -> Callable[..., None]:
    """An initialiser that leaves the scheme which a function of its arguments names."""

    def initializer(tensor: _Tensor, *arguments: float | str, **named: float | str) -> None:
        tensor.scheme = scheme(*arguments, **named)

    return initializer


def _kaiming(law: str) -> Callable[..., str]:
    def scheme(a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu") -> str:
        return f"kaiming_{law}({mode}, gain={_gain(nonlinearity, a)!r})"

    return scheme


_INIT = SimpleNamespace(
    kaiming_normal_=_sets(_kaiming("normal")),
    kaiming_uniform_=_sets(_kaiming("uniform")),
    xavier_normal_=_sets(lambda gain=1.0: f"xavier_normal(gain={gain!r})"),
    xavier_uniform_=_sets(lambda gain=1.0: f"xavier_uniform(gain={gain!r})"),
    orthogonal_=_sets(lambda gain=1: f"orthogonal(gain={gain!r})"),
    normal_=_sets(lambda mean=0.0, std=1.0: f"normal({mean!r}, {std!r})"),
    uniform_=_sets(lambda a=0.0, b=1.0: f"uniform({a!r}, {b!r})"),
    constant_=_sets(lambda val: f"constant({val!r})"),
    zeros_=_sets(lambda: "zeros"),
    ones_=_sets(lambda: "ones"),
)
