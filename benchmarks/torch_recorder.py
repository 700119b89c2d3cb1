"""Recorded initial distributions against the values of real builds, for every parameter of some sixty architectures.

    python benchmarks/torch_recorder.py [NAME ...] [--no-real-build]

Needs the extra ``test``. Prints one row per architecture; exit code 1 when a recorded law is wrong.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import warnings
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "sources" / "torch"))

from architectures import ARCHITECTURES  # noqa: E402 - lies beside the tests that share it
from empirical import compare, draws  # noqa: E402

from initcheck.sources.torch.build import build  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="architectures; default all")
    parser.add_argument("--no-real-build", action="store_true", help="leave unknown what the meta device does not tell")
    options = parser.parse_args()
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    memory = 0 if options.no_real_build else 2 << 30
    total = known = exact = right = 0
    print(f"{'architecture':18}{'right':>12}{'known':>7}{'exact':>7}{'CPU ms':>8}{'plain':>8}")
    for name in options.names or ARCHITECTURES:
        factory = ARCHITECTURES[name]
        factory()
        start = time.process_time()
        factory()
        plain, start = time.process_time() - start, time.process_time()
        built = build(factory, max_memory=memory, root=ROOT)
        spent = time.process_time() - start
        rows = [compare(built.parameters[key], values) for key, values in draws(factory).items()]
        wrong = [row for row in rows if not row.right]
        counts = (len(rows) - len(wrong), sum(row.known for row in rows), sum(row.exact for row in rows))
        total += len(rows)
        right, known, exact = right + counts[0], known + counts[1], exact + counts[2]
        row = (
            f"{name:18}{counts[0]:>6}/{len(rows):<5}{counts[1]:>7}{counts[2]:>7}{spent * 1e3:>8.0f}{plain * 1e3:>8.0f}"
        )
        remarks = (*built.notes, *(f"{bad.name}: {bad.text}" for bad in wrong[:3]))
        print(row, "; ".join(remarks), flush=True)
    shares = f"known {known} ({known / total:.2%}), exact {exact} ({exact / total:.2%})"
    print(f"parameters {total}: right or unknown {right}, {shares}")
    return int(right < total)


if __name__ == "__main__":
    sys.exit(main())
