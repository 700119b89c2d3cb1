"""CPU milliseconds per node of structure search and folds, by size of the graph: constant where the cost is linear.

    python benchmarks/fold_cost.py [--nodes 1000 3000 10000] [--runs 3]

The least of several runs is printed: on a shared machine the others say how busy it was.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402

from initcheck.analysis import Analysis  # noqa: E402
from initcheck.builder import Builder  # noqa: E402
from initcheck.graph import Graph, Op  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

STAGES = ("structure", "forward", "typical", "backward")
WIDTH, TOKENS = 64, 16


def residual(nodes: int) -> Graph:
    """Blocks x + relu(W x + b) / 2 without normalisation."""
    b = Builder((32, WIDTH))
    x = b.x
    while len(b.nodes) < nodes:
        x = b.add(x, b.scale(b.activation(b.linear(x, WIDTH)), 0.5))
    return b.graph(x)


def attention(nodes: int) -> Graph:
    """Pre-norm transformer blocks of one head, the attention spelled out."""
    b = Builder((8, TOKENS, WIDTH))
    x = b.x
    while len(b.nodes) < nodes:
        h = b.normalize(x)
        q, k, v = (b.linear(h, WIDTH, "lecun_normal") for _ in range(3))
        turned = b.node(Op.TRANSPOSE, (k,), (8, WIDTH, TOKENS), {"permutation": (0, 2, 1)})
        logits = b.scale(b.node(Op.MATMUL, (q, turned), (8, TOKENS, TOKENS)), WIDTH**-0.5)
        weights = b.node(Op.SOFTMAX, (logits,), (8, TOKENS, TOKENS), {"axis": -1})
        x = b.add(x, b.linear(b.node(Op.MATMUL, (weights, v), (8, TOKENS, WIDTH)), WIDTH, "lecun_normal"))
        h = b.activation(b.linear(b.normalize(x), 4 * WIDTH), "gelu")
        x = b.add(x, b.linear(h, WIDTH, "lecun_normal"))
    return b.graph(b.normalize(x))


def convolutional(nodes: int) -> Graph:
    """Residual blocks of two convolutions with batch normalisation."""
    b = Builder((8, 3, 16, 16))
    x = b.conv(b.x, 16, bias=None)
    while len(b.nodes) < nodes:
        h = b.activation(b.normalize(b.conv(x, 16, bias=None), "batch"))
        h = b.normalize(b.conv(h, 16, bias=None), "batch")
        x = b.activation(b.add(x, h))
    return b.graph(b.pool(x))


def measure(graph: Graph) -> list[float]:
    """Milliseconds per node of each stage; every stage finds those before it done."""
    analysis = Analysis(graph)
    costs = []
    for stage in STAGES:
        start = time.process_time()
        getattr(analysis, stage)
        costs.append(1e3 * (time.process_time() - start) / len(graph.nodes))
    return costs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1000, 3000, 10000])
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(f"{'graph':14s} {'nodes':>6s}" + "".join(f" {stage:>10s}" for stage in STAGES))
    makers: tuple[Callable[[int], Graph], ...] = (residual, attention, convolutional)
    for make in makers:
        for nodes in options.nodes:
            graph = make(nodes)
            with np.errstate(all="ignore"):
                runs = [measure(graph) for _ in range(options.runs)]
            least = [min(costs) for costs in zip(*runs, strict=True)]
            print(f"{make.__name__:14s} {len(graph.nodes):6d}" + "".join(f" {cost:10.3f}" for cost in least))


if __name__ == "__main__":
    main()
