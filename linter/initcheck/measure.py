"""One target from its source to numbers measured beside the predicted ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from initcheck.analysis import Analysis
from initcheck.errors import ModelLoadError
from initcheck.graph import Axis
from initcheck.load import attempt, load_graph, of_one_target, torch_is_needed
from initcheck.measurement import MeasuredLayer, Measurement, Plan, Quantity
from initcheck.runs import Point
from initcheck.table import row_values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from initcheck.graph import Graph
    from initcheck.report import LayerRow, TargetError
    from initcheck.runs import Runs
    from initcheck.settings import Settings
    from initcheck.signal.signal import Signal
    from initcheck.targets import Target

__all__ = ["Measure", "compare", "quantity"]

Squared: TypeAlias = NDArray[np.float64]
"""Mean square of every sample of one initialisation."""

TOLERANCE = 0.1
"""Decades by which a length or signal may differ before it is marked: what the theory claims to be right to."""

GRADIENT_TOLERANCE = 0.3
"""The same for gradients, whose prediction neglects more."""

ERRORS = 2.0
"""Standard errors by which it must differ as well."""

DIGITS = 6
"""Decimals of measured numbers; what comes after them is noise of the arithmetic."""


@dataclass(frozen=True, slots=True)
class Measure:
    """The task of a worker that measures its target.

    Attributes:
        plan: How often and where.
    """

    plan: Plan

    @property
    def result(self) -> str:
        """What it gives."""
        return "measurement"

    @property
    def modules(self) -> tuple[str, ...]:
        """This module, and what runs PyTorch models."""
        return (__name__, "initcheck.sources.torch.repeats")

    @property
    def is_bounded(self) -> bool:
        """Its memory is, unless it runs on an accelerator, whose driver reserves more than it uses."""
        return self.plan.device == "cpu"

    def __call__(
        self, target: Target, settings: Settings, step: Callable[[int, int], None]
    ) -> Measurement | TargetError:
        """Load, analyse, run and compare."""
        return attempt(target, lambda: _measure(target, settings, self.plan, step))


def _measure(target: Target, settings: Settings, plan: Plan, step: Callable[[int, int], None]) -> Measurement:
    graph, run = (_of_factory if target.path is None else _of_file)(target, settings, plan, step)
    return compare(target.name, graph, run, plan.seed)


def compare(name: str, graph: Graph, run: Callable[..., Runs], seed: int) -> Measurement:
    """Analyse a graph, run the model, and put the numbers side by side.

    Args:
        name: Of the target.
        graph: The lowered model.
        run: Runs the model, and measures the ``points`` that it is given.
        seed: Of the first initialisation.

    Raises:
        ModelLoadError: If there is no weighted layer, or the model does not run.
    """
    analysis = Analysis(graph)
    if not analysis.weighted_layers:
        hint = "name a model that owns weights; a graph without weights has no initialisation"
        raise ModelLoadError("no weighted layer in this graph", hint, kind="no-weights")
    values = row_values(graph)
    signals = [analysis.typical.signals.get(name) for name in values]
    runs = run(points=[_point(graph, name, signal) for name, signal in zip(values, signals, strict=True)])
    rows = enumerate(zip(analysis.layer_rows(), signals, strict=True))
    layers = tuple(_layer(row, signal, runs, at) for at, (row, signal) in rows)
    return Measurement(
        target=name,
        source=graph.source,
        parameters=graph.parameter_count,
        weighted_layers=analysis.weighted_layers,
        initialisations=len(runs.squares),
        seeds=tuple(range(seed, seed + len(runs.squares))),
        samples=runs.samples,
        inputs=runs.inputs,
        layers=layers,
        drawn=runs.drawn,
        kept=runs.kept,
        assumptions=graph.assumptions,
        notes=(*graph.notes, *runs.notes, *_unmeasured(layers), *_without_errors(runs)),
    )


def _of_factory(
    target: Target, settings: Settings, plan: Plan, step: Callable[[int, int], None]
) -> tuple[Graph, Callable[..., Runs]]:
    with torch_is_needed():
        from initcheck.sources.torch.repeats import find_device, run_repeats
        from initcheck.sources.torch.target import open_target
    # Before the model is built and traced, which may take a while.
    find_device(plan.device)
    with of_one_target():
        opened = open_target(target, settings, Path(settings.app_dir or ".").resolve())
    return opened.loaded.graph, partial(run_repeats, opened, plan=plan, max_memory=settings.max_memory, step=step)


def _of_file(
    target: Target, settings: Settings, plan: Plan, step: Callable[[int, int], None]
) -> tuple[Graph, Callable[..., Runs]]:
    if target.path is None or target.source == "torch":
        message = "an archive holds one draw of the weights, and no factory that draws others"
        raise ModelLoadError(message, "name the factory of the model, pkg.models:build", kind="unsupported")
    from initcheck.sources.onnx.redraws import require_runtime, run_redraws

    require_runtime(plan.device)
    graph = load_graph(target, settings)
    return graph, partial(run_redraws, target.path, graph, plan=plan, settings=settings, step=step)


def _point(graph: Graph, name: str, signal: Signal | None) -> Point:
    value = graph.values.get(name)
    batch = [index for index, axis in enumerate(signal.axes if signal else ()) if axis is Axis.BATCH]
    return Point(name, value.shape if value else None, batch[0] if len(batch) == 1 else None)


def _layer(row: LayerRow, signal: Signal | None, runs: Runs, at: int) -> MeasuredLayer:
    def of(name: str) -> tuple[list[Squared | None], Squared | None]:
        stored = getattr(runs.stored, name)[at] if runs.stored else None
        return [getattr(squares, name)[at] for squares in runs.squares], stored

    no_signal = signal is not None and signal.gain == 0.0
    return MeasuredLayer(
        path=row.path,
        kind=row.kind,
        width=row.width,
        weight=row.weight,
        predicted_state=row.state,
        state=_state(of("length")[0]),
        length=quantity(row.log10_mean_square, *of("length"), TOLERANCE, is_zero=row.state == "zero"),
        signal=quantity(row.log10_signal, *of("signal"), TOLERANCE, is_zero=no_signal),
        gradient=quantity(row.log10_gradient_mean_square, *of("gradient"), GRADIENT_TOLERANCE),
        location=row.location,
    )


def quantity(
    predicted: float | None,
    squares: Sequence[Squared | None],
    stored: Squared | None,
    tolerance: float,
    *,
    is_zero: bool = False,
) -> Quantity:
    """Average the mean squares of all initialisations, and compare.

    Args:
        predicted: log10 of the mean square, None if nothing is predicted.
        squares: For each initialisation the mean square of every sample, None where nothing was measured.
        stored: The same for the weights that stand in the file.
        tolerance: Decades by which prediction and measurement may differ.
        is_zero: Whether exactly zero is predicted.
    """
    arrays = [array for array in squares if array is not None]
    means = [mean for array in arrays if (mean := _mean_log(array)) is not None]
    measured = sum(means) / len(means) if means else None
    error = None
    if measured is not None and len(means) > 1:
        error = math.sqrt(sum((mean - measured) ** 2 for mean in means) / (len(means) - 1) / len(means))
    zeros = sum(int((array == 0.0).sum()) for array in arrays)
    nonfinite = sum(int((~np.isfinite(array)).sum()) for array in arrays)
    if measured is not None and predicted is not None:
        disagrees = error is not None and abs(predicted - measured) > max(tolerance, ERRORS * error)
    else:
        all_zero = bool(arrays) and measured is None and not nonfinite
        disagrees = (is_zero and measured is not None) or (predicted is not None and all_zero)
    return Quantity(
        predicted=predicted,
        measured=_rounded(measured),
        standard_error=_rounded(error),
        stored=_rounded(None if stored is None else _mean_log(stored)),
        zeros=zeros,
        nonfinite=nonfinite,
        disagrees=disagrees,
    )


def _mean_log(array: Squared) -> float | None:
    """Mean over samples of log10, samples that are zero or not finite left out."""
    counted = array[np.isfinite(array) & (array > 0.0)]
    return float(np.log10(counted).mean()) if len(counted) else None


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def _state(squares: Sequence[Squared | None]) -> str:
    arrays = [array for array in squares if array is not None]
    if not arrays:
        return "unknown"
    if not all(np.isfinite(array).all() for array in arrays):
        return "nonfinite"
    return "ok" if any(array.any() for array in arrays) else "zero"


def _unmeasured(layers: Sequence[MeasuredLayer]) -> list[str]:
    """Say which layers could not be measured; their values never leave a module."""
    paths = [layer.path for layer in layers if layer.state == "unknown"]
    if not paths:
        return []
    several = f"{len(paths)} layers ({paths[0]}, …)" if len(paths) > 1 else paths[0]
    return [f"not measured, since no module returns it: {several}"]


def _without_errors(runs: Runs) -> list[str]:
    if len(runs.squares) > 1:
        return []
    return ["a single initialisation has no standard error: no disagreement is marked"]
