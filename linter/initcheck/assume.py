"""A model with its weights as a scheme would draw them: the architecture judged alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from initcheck.graph import WEIGHTED, Graph, Op, Parameter
from initcheck.schemes import init_fans, parse_scheme, scheme_distribution

if TYPE_CHECKING:
    from initcheck.distribution import Distribution
    from initcheck.graph import Node

__all__ = ["with_scheme"]

DEFAULT = "pytorch_default"
DEFAULT_BIAS = "uniform(±1/√fan_in)"


def with_scheme(graph: Graph, scheme: str) -> Graph:
    """The same graph with every weight of two or more axes drawn by a scheme, and biases zero.

    Embeddings (a head tied to one included), normalisation parameters and everything that no weighted layer reads keep
    their own law: a scheme says nothing about them. ``pytorch_default`` draws biases by its own law.

    Args:
        graph: The model.
        scheme: A name of ``SCHEMES``, with arguments.

    Raises:
        UsageError: If the scheme is not understood.
    """
    parse_scheme(scheme)
    replaced: dict[str, Parameter] = {}
    tables = {name for node in graph.nodes if node.op is Op.EMBEDDING for name in node.inputs}
    for node in graph.nodes:
        if node.op not in WEIGHTED - {Op.EMBEDDING}:
            continue
        weights = [
            graph.parameters[name] for name in node.inputs[1:] if name in graph.parameters and name not in tables
        ]
        fans = _fans(node, next((weight.shape for weight in weights if len(weight.shape) >= 2), ()))
        for weight in weights:
            if len(weight.shape) >= 2:
                own = fans if node.op is not Op.RECURRENT else init_fans(weight.shape)
                law = scheme_distribution(scheme, weight.shape, *own)
            else:
                law = _bias_law(scheme, weight, fans[0])
            replaced[weight.name] = replace(weight, distribution=law, rows=None, values=None, history=())
    return replace(graph, parameters={**graph.parameters, **replaced})


def _fans(node: Node, shape: tuple[int, ...]) -> tuple[int, int]:
    """Fans as the initialiser counts them, which knows nothing of groups or of a transposed convolution."""
    return init_fans(shape, node.attributes.get("out_axis", 0))


def _bias_law(scheme: str, bias: Parameter, fan_in: int) -> Distribution:
    default = scheme.strip().rstrip("_").lower() == DEFAULT and fan_in > 0
    return scheme_distribution(DEFAULT_BIAS if default else "zeros", bias.shape, fan_in)
