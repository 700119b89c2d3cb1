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
    flagged: list[str] = []
    strict: list[str] = []
    failures: list[str] = []
    for name, factory in factories.items():
        loaded = _exported(factory) if onnx else load_torch(factory)
        if loaded.analysis is None:
            failures.append(name)
            print(f"{name:24}{'':>10}{loaded.seconds:7.1f}  no verdict: {loaded.failure}", flush=True)
            continue
        analysis = loaded.analysis
        layers = f"{analysis.analysed_layers}/{analysis.weighted_layers}"
        trainer = Optimizer.ADAM if name in ADAM else Optimizer.SGD
        start = time.process_time()
        lines = _loud(judge(analysis, trainer))
        seconds = loaded.seconds + time.process_time() - start
        nearest = _nearest(judge(analysis, trainer, quantities=True), trainer)
        verdict = "FLAGGED" if lines else "clean"
        print(f"{name:24}{layers:>10}{seconds:7.1f}  {verdict:9}{trainer:7}{nearest}", flush=True)
        _print_indented(lines)
        flagged += [name] if lines else []
        if trainer is not Optimizer.SGD and not lines and (stricter := _loud(judge(analysis))):
            strict.append(name)
            print(f"{'':43}with the default bounds, those of SGD:")
            _print_indented(stricter)
        # A graph of a published size is large, and exporters keep cycles alive.
        del analysis, loaded
        gc.collect()
    clean = len(factories) - len(flagged) - len(failures)
    print(f"{title}: {clean} of {len(factories)} clean; {len(flagged)} flagged: {' '.join(flagged) or 'none'}")
    print(f"  flagged by the default bounds only: {' '.join(strict) or 'none'}")
    print(f"  no verdict: {' '.join(failures) or 'none'}")
    return bool(flagged or failures)


def _loud(judged: Judged) -> list[str]:
    return [f"{item.severity} {item.code} {item.message} | {item.cause}" for item in judged.loud()]


def _nearest(judged: Judged, trainer: Optimizer) -> str:
    """The quantity that comes nearest to its bound."""
    bounds = shipped(trainer)
    name = max(bounds, key=lambda name: judged.values.get(name, 0.0) / bounds[name])
    value = judged.values.get(name, 0.0)
    return f"{name} {value:.2g} of {bounds[name]:g}" if value else ""


def _print_indented(lines: Sequence[str]) -> None:
    for line in lines:
        print(f"{'':43}{line}", flush=True)


def _exported(factory: Callable[[], nn.Module]) -> Loaded:
    """The ONNX route; the reason where a model does not export."""
    torch.manual_seed(0)
    try:
        model = factory().train()
        size = sum(parameter.numel() for parameter in model.parameters())
        if size > LARGEST_EXPORT:
            return Loaded(None, f"not exported: {size / 1e6:.0f} million parameters", 0.0)
        example = next(iter(find_examples(model)))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            options = {"kwargs": dict(example.kwargs), "dynamo": True, "optimize": False, "verbose": False}
            torch.onnx.export(model, example.args, str(path), **options)
            return load_onnx(path)
    except Exception as error:  # noqa: BLE001 - any failure of the exporter is a line of the table
        return Loaded(None, f"not exported: {type(error).__name__}: {str(error).splitlines()[0][:100]}", 0.0)
