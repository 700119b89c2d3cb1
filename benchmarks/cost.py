"""CPU seconds and peak memory of whole commands, in turn, so that the machine's drift meets all of them alike.

    python benchmarks/cost.py [--runs 7] [--model FILE]

FILE is a large model to compare with ``onnx.checker.check_model(path, full_check=True)``; without it a ResNet-50 of
random weights (94 MB) is exported first, which needs the extra ``test``. Statistics alone:
``benchmarks/weight_statistics.py``.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "mlp_repaired.onnx"


def export_resnet(path: Path) -> None:
    """ResNet-50 as ``transformers`` defines it, in training mode, with the legacy exporter."""
    import torch
    from transformers import ResNetConfig, ResNetForImageClassification

    class Logits(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = ResNetForImageClassification(ResNetConfig(num_labels=1000))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.model(pixel_values=x).logits
            return logits

    mode = torch.onnx.TrainingMode.TRAINING
    example = (torch.zeros(2, 3, 224, 224),)
    torch.onnx.export(Logits().train(), example, str(path), dynamo=False, training=mode, do_constant_folding=False)


def measure(command: list[str]) -> tuple[float, float]:
    """CPU seconds (user and system) and peak memory in MB of one run."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    _, _, usage = os.wait4(child.pid, 0)
    child.returncode = 0
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--model", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = options.model
        if model is None:
            model = Path(scratch) / "resnet50.onnx"
            export_resnet(model)
        initcheck = [sys.executable, "-m", "initcheck"]
        checker = f"import onnx; onnx.checker.check_model({str(model)!r}, full_check=True)"
        commands = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "import typer": [sys.executable, "-c", "import typer"],
            "import onnx": [sys.executable, "-c", "import onnx"],
            "import torch": [sys.executable, "-c", "import torch"],
            "initcheck --help": [*initcheck, "--help"],
            "initcheck, small model": [*initcheck, str(EXAMPLE), "-f", "concise"],
            "initcheck, large model": [*initcheck, str(model), "-f", "concise"],
            "onnx.checker, large model": [sys.executable, "-c", checker],
        }
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for turn in range(options.runs + 1):
            for name, command in commands.items():
                result = measure(command)
                if turn:
                    figures[name].append(result)
    print(f"{'command':28s} {'CPU s, median':>14s} {'least':>7s} {'MB':>6s}")
    medians = {}
    for name, runs in figures.items():
        seconds = [cpu for cpu, _ in runs]
        medians[name] = statistics.median(seconds)
        print(f"{name:28s} {medians[name]:14.3f} {min(seconds):7.3f} {max(mb for _, mb in runs):6.0f}")
    ratio = medians["initcheck, large model"] / medians["onnx.checker, large model"]
    print(f"large model, initcheck over onnx.checker: {ratio:.2f}")


if __name__ == "__main__":
    main()
