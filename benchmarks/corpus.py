"""Run the command line on ONNX exports of a corpus of models with measured labels, and print the corpus's own score.

    python benchmarks/corpus.py CORPUS [--exporter dynamo|legacy] [--keep FOLDER] [-- OPTIONS FOR initcheck check]

CORPUS is a folder with ``cases.py`` (one factory per case), ``manifest.json`` (labels) and ``score.py``.
Needs the extra ``test``. Cases that do not export are listed with the reason.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

MODES = {
    "vanishing": "fm1-vanishing",
    "exploding": "fm1-exploding",
    "residual": "fm1-residual",
    "fluctuation": "fm2",
    "saturation": "saturated",
    "collapse": "fm1-vanishing",
}
COLUMNS = ("label", "label_sgd", "label_train")


def load_cases(corpus: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("cases", corpus / "cases.py")
    if spec is None or spec.loader is None:
        sys.exit(f"{corpus / 'cases.py'} is not there")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def export(model: Any, path: Path, exporter: str) -> None:
    import torch

    example = model.example_input
    if exporter == "dynamo":
        torch.onnx.export(model, (example,), str(path), dynamo=True, optimize=False, verbose=False)
    else:
        training = torch.onnx.TrainingMode.TRAINING
        torch.onnx.export(
            model, (example,), str(path), dynamo=False, training=training, do_constant_folding=False, opset_version=17
        )


def export_all(corpus: Path, folder: Path, exporter: str) -> dict[str, str]:
    """Export every case that is not there yet; returns case -> reason for those that failed."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    cases = load_cases(corpus)
    failed = {}
    for row in json.loads((corpus / "manifest.json").read_text())["cases"]:
        path = folder / f"{row['id']}.onnx"
        if path.exists():
            continue
        torch.manual_seed(0)
        model = getattr(cases, row["id"])().train()
        try:
            export(model, path, exporter)
        except Exception as error:  # noqa: BLE001 - any failure of the exporter is a line of the table
            failed[row["id"]] = f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"
            path.unlink(missing_ok=True)
    return failed


def predict(folder: Path, minimum: str, options: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    run = subprocess.run(
        ["initcheck", "check", "--format", "json", "--fail-on", "never", "--no-progress", *options, str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if not run.stdout:
        sys.exit(run.stderr)
    report = json.loads(run.stdout)
    predictions: dict[str, Any] = {
        Path(model["target"]).stem: {"flagged": False, "modes": [], "codes": []}
        for model in report["models"]
        if model["status"] == "ok"
    }
    for finding in report["findings"]:
        entry = predictions[Path(finding["target"]).stem]
        if finding["severity"] in {"error", minimum}:
            entry["flagged"] = True
            entry["codes"].append(finding["code"])
            entry["modes"].append(MODES.get(finding["failure_mode"], finding["failure_mode"]))
    return predictions, report


def main() -> None:
    own, extra = sys.argv[1:], []
    if "--" in own:
        extra, own = own[own.index("--") + 1 :], own[: own.index("--")]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--exporter", choices=["dynamo", "legacy"], default="dynamo")
    parser.add_argument("--keep", type=Path, help="folder to keep the exports in and to reuse")
    parser.add_argument("--min-severity", choices=["warning", "error"], default="warning")
    options = parser.parse_args(own)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        failed = export_all(options.corpus, folder, options.exporter)
        predictions, report = predict(folder, options.min_severity, extra)
        output = folder / "predictions.json"
        output.write_text(json.dumps(predictions, indent=1))
        for column in COLUMNS:
            command = [sys.executable, str(options.corpus / "score.py"), str(output), "--column", column]
            print(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(f"{len(predictions)} analysed, {len(failed)} not exported, {len(report['errors'])} without a verdict")
        for name, reason in failed.items():
            print(f"  not exported: {name}: {reason}")
        for error in report["errors"]:
            print(f"  no verdict: {error['target']}: {error['message']}")
        for model in report["models"]:
            if model["status"] == "ok" and model["analysed_layers"] < model["weighted_layers"]:
                counts = f"{model['analysed_layers']} of {model['weighted_layers']}"
                print(f"  partly analysed: {Path(model['target']).stem}: {counts} weighted layers")


if __name__ == "__main__":
    main()
