"""Architectures that must not be flagged: every warning or error on them, and every one without a verdict."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from healthy import ADAM, DISPUTED, FULL, SMALL
from judging import Judged, Loaded, judge, load_onnx, load_torch, shipped

from initcheck import Optimizer
from initcheck.sources.torch.inputs import find_examples

if TYPE_CHECKING:
    from torch import nn

Factories = Mapping[str, Callable[[], "nn.Module"]]

LARGEST_EXPORT = 30_000_000
"""Parameters up to which a model is exported."""

NOT_EXPORTED = "not exported: "

KINDS = ("clean", "flagged", "flagged by the default bounds only", "no verdict", "not exported")


def run_healthy(names: Sequence[str], *, full: bool, onnx: bool) -> int:
    """Returns 1 if a model that is not disputed is flagged or gets no verdict."""
    counted = {**SMALL, **(FULL if full and not onnx else {})}
    if names:
        counted = {name: factory for name, factory in {**SMALL, **FULL}.items() if name in names}
    failed = _run("healthy", counted, onnx=onnx)
    disputed = {name: factory for name, factory in DISPUTED.items() if not names or name in names}
    if disputed and not onnx:
        _run("disputed, not counted", disputed, onnx=False)
    return int(failed)


def _run(title: str, factories: Factories, *, onnx: bool) -> bool:
    print(f"\n{title}: {len(factories)} models")
    print(f"{'model':24}{'layers':>10}{'CPU s':>7}  {'verdict':9}{'bounds':7}nearest to its bound")
    results: dict[str, list[str]] = {kind: [] for kind in KINDS}
    for name, factory in factories.items():
        loaded = _exported(factory) if onnx else load_torch(factory)
        results[_row(name, loaded)].append(name)
        # A graph of a published size is large, and exporters keep cycles alive.
        del loaded
        gc.collect()
    print(f"{title}: of {len(factories)}")
    for kind, names in results.items():
        print(f"  {len(names):3} {kind}{'' if kind == 'clean' else ': ' + (' '.join(names) or 'none')}")
    return bool(results["flagged"] or results["no verdict"])


def _row(name: str, loaded: Loaded) -> str:
    """Print what became of one model, and say which of ``KINDS`` that is."""
    trainer = Optimizer.ADAM if name in ADAM else Optimizer.SGD
    start = time.process_time()
    judged = judge(loaded.analysis, trainer) if loaded.analysis is not None else Judged(failure=loaded.failure)
    seconds = loaded.seconds + time.process_time() - start
    if loaded.analysis is None or judged.failure:
        kind = "not exported" if judged.failure.startswith(NOT_EXPORTED) else "no verdict"
        print(f"{name:24}{'':>10}{seconds:7.1f}  {kind}: {judged.failure.removeprefix(NOT_EXPORTED)}", flush=True)
        return kind
    analysis, lines = loaded.analysis, _loud(judged)
    stricter = _loud(judge(analysis)) if trainer is not Optimizer.SGD and not lines else []
    layers = f"{analysis.analysed_layers}/{analysis.weighted_layers}"
    nearest = _nearest(judge(analysis, trainer, quantities=True), trainer)
    print(f"{name:24}{layers:>10}{seconds:7.1f}  {'FLAGGED' if lines else 'clean':9}{trainer:7}{nearest}", flush=True)
    if stricter:
        print(f"{'':43}with the default bounds, those of SGD:")
    for line in lines or stricter:
        print(f"{'':43}{line}", flush=True)
    return "flagged" if lines else "flagged by the default bounds only" if stricter else "clean"


def _loud(judged: Judged) -> list[str]:
    return [f"{item.severity} {item.code} {item.message} | {item.cause}" for item in judged.loud()]


def _nearest(judged: Judged, trainer: Optimizer) -> str:
    """The quantity that comes nearest to its bound."""
    bounds = shipped(trainer)
    name = max(bounds, key=lambda name: judged.values.get(name, 0.0) / bounds[name])
    value = judged.values.get(name, 0.0)
    return f"{name} {value:.2g} of {bounds[name]:g}" if value else ""


def _exported(factory: Callable[[], nn.Module]) -> Loaded:
    """The ONNX route; the reason where a model does not export."""
    torch.manual_seed(0)
    try:
        model = factory().train()
        size = sum(parameter.numel() for parameter in model.parameters())
        if size > LARGEST_EXPORT:
            return Loaded(None, f"{NOT_EXPORTED}{size / 1e6:.0f} million parameters", 0.0)
        example = next(iter(find_examples(model)))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            options = {"kwargs": dict(example.kwargs), "dynamo": True, "optimize": False, "verbose": False}
            torch.onnx.export(model, example.args, str(path), **options)
            return load_onnx(path)
    except Exception as error:  # noqa: BLE001 - any failure of the exporter is a line of the table
        return Loaded(
            None, f"{NOT_EXPORTED}{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:100]}", 0.0
        )
