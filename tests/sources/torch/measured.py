"""Measurements in this process, of factories that tests trust."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from initcheck.measure import compare
from initcheck.measurement import Plan
from initcheck.sources.torch.load import load_model
from initcheck.sources.torch.repeats import run_repeats
from initcheck.sources.torch.target import Opened, Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from initcheck.measurement import MeasuredLayer, Measurement
    from initcheck.sources.torch.inputs import InputShape

HERE = Path(__file__).parent


def measured(
    factory: Callable[[], object],
    *,
    repeats: int = 2,
    seed: int = 0,
    shapes: Mapping[str, InputShape] | None = None,
    max_memory: int = 1 << 30,
    device: str = "cpu",
) -> Measurement:
    watched = Watched(factory)
    opened = Opened(watched, HERE, load_model(watched, root=HERE, shapes=shapes))
    plan = Plan(repeats, seed, device)
    run = partial(run_repeats, opened, plan=plan, max_memory=max_memory, step=lambda done, total: None)
    return compare("model", opened.loaded.graph, run, seed)


def layers(measurement: Measurement) -> dict[str, MeasuredLayer]:
    """Rows by path."""
    return {layer.path: layer for layer in measurement.layers}
