"""How many architectures are traced, and how many of their weighted layers are lowered.

    python benchmarks/torch_coverage.py [NAME ...]

Needs the extra ``test``. One row per architecture: how it was built and traced, weighted layers lowered of all, those
whose signal is known, matrices that no node reads, CPU seconds of the whole, operators that stayed opaque.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "sources" / "torch"))

from architectures import HUB  # noqa: E402 - lies beside the tests that share it
from forwards import FORWARDS  # noqa: E402

from initcheck.analysis import Analysis  # noqa: E402
from initcheck.graph import Graph, Op  # noqa: E402
from initcheck.sources.torch.load import load  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="architectures; default all")
    options = parser.parse_args()
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    factories = {**HUB, **FORWARDS}
    failed: list[str] = []
    totals: Counter[str] = Counter()
    print(f"{'architecture':22}{'built':>6}{'traced':>8}{'lowered':>10}{'known':>7}{'unread':>7}{'CPU s':>7}  opaque")
    for name in options.names or factories:
        start = time.process_time()
        try:
            graph = load(factories[name], root=ROOT)
        except Exception as error:  # noqa: BLE001 - the table goes on
            failed.append(name)
            print(f"{name:22} {type(error).__name__}: {str(error)[:150]}", flush=True)
            continue
        spent = time.process_time() - start
        row = examine(graph)
        totals.update(row)
        built = "real" if any(note.startswith("built for real") for note in graph.notes) else "meta"
        opaque = Counter(node.attributes["type"] for node in graph.nodes if node.op is Op.OPAQUE)
        print(
            f"{name:22}{built:>6}{route(graph):>8}{row['lowered']:>6}/{row['layers']:<3}{row['known']:>7}{row['unread']:>7}"
            f"{spent:>7.2f}  {', '.join(f'{kind} {count}' for kind, count in opaque.items())}",
            flush=True,
        )
    layers = max(totals["layers"], 1)
    print(f"traced {len(options.names or factories) - len(failed)} of {len(options.names or factories)}", *failed)
    print(f"weighted layers {layers}: lowered {totals['lowered'] / layers:.2%}, known {totals['known'] / layers:.2%}")
    return int(bool(failed))


def examine(graph: Graph) -> Counter[str]:
    """Counts of one model."""
    analysis = Analysis(graph)
    matrices = {name for name, parameter in graph.parameters.items() if len(parameter.shape) >= 2}
    read = {name for node in graph.nodes for name in node.inputs}
    return Counter(
        layers=analysis.weighted_layers,
        lowered=sum(layer.understood for layer in analysis.layers),
        known=analysis.analysed_layers,
        unread=len(matrices - read),
    )


def route(graph: Graph) -> str:
    """How the forward pass was traced."""
    note = next(note for note in graph.notes if note.startswith("traced by"))
    return next(word for word in ("export", "fake", "small input") if word in note.split(",")[0])


if __name__ == "__main__":
    sys.exit(main())
