"""Predictions of the engine held against real networks, operation by operation.

    python benchmarks/accuracy.py [--half seen|unseen|all] [--only PATTERN] [--repeats 48] [--smoke]
                                  [--json FILE] [--worst N] [--kinds]

Needs the extra ``test``. Every model of the zoo (``benchmarks/zoo``) is built and traced as the product does; then its
trace is played back in float64 with the weights of fresh builds, forwards, backwards and with a tangent. Compared are
the outputs of operations that compute something, in decades of the mean square:

* forward length: mean over networks and samples of log10 of a sample's mean square;
* gain: the same of the response to an independent standard normal change of the input (of the embedding's output for
  integer inputs), by forward-mode differentiation;
* gradients of values and of parameters, for a standard normal gradient at the main output; those of a parameter are
  summed over the batch, as a trainer's are;
* Var[ln M] over networks, for fixed inputs, at the input of the last layer; of some small models.

A hit is within the bound that the table names, or within two standard errors. Models are split in halves by a hash of
their names: the unseen half is for judging the engine, never for working on it.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import logging
import os
import sys
import time
import warnings
from pathlib import Path

import torch
from accuracy_compare import Quantity, Row, compare, last_layer_input, operations, variance_row
from accuracy_measure import log_length_variances, measure
from accuracy_replay import trace_entry
from accuracy_report import model_line, print_kinds, print_pooled, print_worst
from zoo import ZOO, Entry

from initcheck.analysis import Analysis


def examine(entry: Entry, repeats: int, variance_repeats: int) -> list[Row]:
    """Rows of one model."""
    traced = trace_entry(entry)
    analysis = Analysis(traced.graph)
    wanted = [name for name in operations(traced.graph) if name in traced.trace.values]
    rows = list(compare(entry.name, analysis, measure(entry, traced, wanted, repeats)))
    value = last_layer_input(analysis) if entry.variance else ""
    if value and value in traced.trace.values:
        measured = log_length_variances(entry, traced, value, variance_repeats)
        rows.append(variance_row(entry.name, analysis, value, measured))
    return rows


def smoke(entries: list[Entry]) -> int:
    """Whether every model goes all the way; nothing is said about its numbers."""
    failed = 0
    for entry in entries:
        try:
            examine(entry, 1, 2)
        except Exception as error:  # noqa: BLE001 - the list goes on
            failed += 1
            print(f"{entry.name:44} {type(error).__name__}: {str(error)[:150]}", flush=True)
        else:
            print(f"{entry.name:44} ok", flush=True)
    print(f"{len(entries) - failed} of {len(entries)} ok")
    return int(failed > 0)


def chosen(half: str, pattern: str) -> list[Entry]:
    """Models of a half whose names match."""
    halves = {"seen": (False,), "unseen": (True,), "all": (False, True)}[half]
    matching = (entry for entry in ZOO.values() if not pattern or fnmatch.fnmatch(entry.name, pattern))
    return [entry for entry in matching if entry.is_unseen in halves]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=("seen", "unseen", "all"), default="seen")
    parser.add_argument("--only", default="", metavar="PATTERN", help="models whose name matches: 'mlp/*'")
    parser.add_argument("--repeats", type=int, default=48, help="networks per model")
    parser.add_argument("--variance-repeats", type=int, default=200, help="networks for Var[ln M]")
    parser.add_argument("--smoke", action="store_true", help="only say whether every model runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all rows")
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="the worst operations of every quantity")
    parser.add_argument("--kinds", action="store_true", help="one line per kind of operation")
    options = parser.parse_args()
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    entries = chosen(options.half, options.only)
    if options.smoke:
        return smoke(entries)
    rows: list[Row] = []
    failed: list[str] = []
    start = time.process_time()
    for entry in entries:
        try:
            found = examine(entry, options.repeats, options.variance_repeats)
        except Exception as error:  # noqa: BLE001 - the table goes on
            failed.append(entry.name)
            print(f"{entry.name:44} {type(error).__name__}: {str(error)[:150]}", flush=True)
            continue
        rows += found
        print(model_line(entry.name, found, header=len(rows) == len(found)), flush=True)
    print_pooled(rows, len(entries) - len(failed), options.repeats, time.process_time() - start)
    if options.kinds:
        print_kinds(rows)
    for quantity in Quantity if options.worst else ():
        print_worst(rows, quantity, options.worst)
    if options.json:
        options.json.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n", encoding="utf-8")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
