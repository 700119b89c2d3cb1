"""Exit code of every model that the onnx package ships as test data: a table, and no crash.

    python benchmarks/onnx_test_data.py [-v]

Most of them are single operators without weights (exit 2, "no weighted layer"); the ``light`` models are whole
networks whose weights are constants. Exit code 1 when a model met an internal error.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path

import onnx

from initcheck import Severity, check
from initcheck.commands.exit_code import exit_code

ROOT = Path(onnx.__file__).parent / "backend" / "test" / "data"


def main() -> int:
    counts: Counter[tuple[str, int, str]] = Counter()
    internal = []
    started = time.process_time()
    for path in sorted(ROOT.rglob("*.onnx")):
        report = check(path)
        code = exit_code(report, Severity.ERROR)
        kind = report.errors[0].kind if report.errors else report.verdict(report.models[0].target)
        folder = path.relative_to(ROOT).parts[0]
        counts[folder, int(code), kind] += 1
        if kind == "internal":
            internal.append(f"{path.relative_to(ROOT)}: {report.errors[0].message}")
        if "-v" in sys.argv or folder == "light":
            findings = " ".join(sorted({item.finding.code for item in report.findings}))
            layers = "/".join(str(n) for m in report.models for n in (m.analysed_layers, m.weighted_layers))
            print(f"{int(code)} {kind:12s} {layers:>9s}  {path.relative_to(ROOT)}  {findings}")
    print(f"\n{'folder':18s} {'exit':>4s}  {'verdict or error':16s} {'models':>6s}")
    for (folder, code, kind), count in sorted(counts.items()):
        print(f"{folder:18s} {code:4d}  {kind:16s} {count:6d}")
    print(f"{sum(counts.values())} models, {time.process_time() - started:.1f} s CPU, {len(internal)} internal errors")
    for line in internal:
        print(line)
    return 1 if internal else 0


if __name__ == "__main__":
    sys.exit(main())
