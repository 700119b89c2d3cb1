"""Verdicts against measured labels, on healthy architectures and on sick models.

    python benchmarks/verdicts.py corpus CORPUS [--cases NAME ...]
    python benchmarks/verdicts.py healthy [--full] [--onnx] [NAME ...]
    python benchmarks/verdicts.py sick [NAME ...]

CORPUS is a folder with ``cases.py`` (one factory per case) and ``manifest.json`` (labels, families, accepted failure
modes): initcheck and three baselines are scored on it, with their own bounds and with bounds fitted without the family
that is scored. Needs the extra ``test``.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    corpus = commands.add_parser("corpus", help="models with measured labels")
    corpus.add_argument("folder", type=Path)
    corpus.add_argument("--cases", nargs="+", default=[], help="these only")
    healthy = commands.add_parser("healthy", help="architectures that must not be flagged")
    healthy.add_argument("names", nargs="*")
    healthy.add_argument("--full", action="store_true", help="those of full size as well")
    healthy.add_argument("--onnx", action="store_true", help="exported to ONNX instead, the small ones")
    sick = commands.add_parser("sick", help="models that cannot start")
    sick.add_argument("names", nargs="*")
    options = parser.parse_args()
    # What exporters and models log is not about the verdict.
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    if options.command == "corpus":
        from verdicts_corpus import run_corpus

        return run_corpus(options.folder, options.cases)
    if options.command == "healthy":
        from verdicts_healthy import run_healthy

        return run_healthy(options.names, full=options.full, onnx=options.onnx)
    from verdicts_sick import run_sick

    return run_sick(options.names)


if __name__ == "__main__":
    sys.exit(main())
