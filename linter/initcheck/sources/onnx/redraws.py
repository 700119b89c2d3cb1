"""A file run with its own weights, and with weights drawn anew from the distributions that they show."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np

from initcheck.errors import ModelLoadError
from initcheck.feeding import ASSUMED_SAMPLES, normalises_batch, rows_of_ids
from initcheck.runs import Runs, Squares
from initcheck.sources.onnx.draws import family_to_draw, generator, redraw
from initcheck.sources.onnx.inputs import neutral_input, resolve_inputs
from initcheck.sources.onnx.read import read_model
from initcheck.sources.onnx.response import Response, mean_squares
from initcheck.sources.onnx.runnable import Session, runnable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from initcheck.distribution import Distribution
    from initcheck.graph import Graph
    from initcheck.measurement import Plan
    from initcheck.runs import Point
    from initcheck.settings import Settings
    from initcheck.sources.onnx.known import Array
    from initcheck.sources.onnx.read import ModelFile

__all__ = ["require_runtime", "run_redraws"]

_FED = frozenset({"float16", "float32", "float64"})
"""Element types that can be handed to onnxruntime as arrays."""


def require_runtime(device: str) -> None:
    """Check that files can be run.

    Raises:
        ModelLoadError: If onnxruntime is not installed, or another device than the processor is asked for.
    """
    if device != "cpu":
        message = f"an ONNX file is run on the processor, not on {device}"
        raise ModelLoadError(message, "leave --device out", kind="device")
    if find_spec("onnxruntime") is None:
        message = "an ONNX file is run by onnxruntime, which is not installed"
        raise ModelLoadError(message, "install it with pip install onnxruntime", kind="no-onnxruntime")


def run_redraws(
    path: Path,
    graph: Graph,
    points: Sequence[Point],
    *,
    plan: Plan,
    settings: Settings,
    step: Callable[[int, int], None],
) -> Runs:
    """Run a file once as it is, and once for every new draw of its weights.

    Args:
        path: The file.
        graph: As lowered from it.
        points: Values to measure.
        plan: How often.
        settings: Shapes, sizes of dimensions and the memory bound.
        step: Hears of every draw that is through.

    Raises:
        ModelLoadError: If onnxruntime cannot run the file, or the weights are too large.
    """
    file = read_model(path)
    size = sum(ref.nbytes for ref in file.tensors.values())
    if size > settings.max_memory:
        message = f"its tensors take {size / 1e9:.2f} GB, more than may be loaded ({settings.max_memory / 1e9:.2f} GB)"
        raise ModelLoadError(message, "--max-memory allows more", kind="memory")
    return _Redraws(file, graph, points, plan, settings, step).run()


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Values of the model's inputs."""

    feeds: Mapping[str, Array]
    samples: int
    described: str


class _Redraws:
    """State of one run; ``run`` is its only method for others."""

    def __init__(
        self,
        file: ModelFile,
        graph: Graph,
        points: Sequence[Point],
        plan: Plan,
        settings: Settings,
        step: Callable[[int, int], None],
    ) -> None:
        self._graph, self._points, self._plan, self._step = graph, points, plan, step
        self._inputs = _inputs(file, graph, settings, plan.seed)
        self._laws = _laws(file, graph)
        self._stored = {name: file.tensors[name].load(settings.max_memory) for name in self._laws}
        model, found = runnable(file, self._laws, [point.value for point in points])
        self._found = sorted(found)
        try:
            self._session = Session(model)
        except ModelLoadError:
            raise
        except Exception as error:
            raise _cannot_run(error) from error
        self._response = Response(model, graph, points, self._inputs.feeds, self._inputs.samples)

    def run(self) -> Runs:
        """The stored weights first, then the draws."""
        plan = self._plan
        self._step(0, plan.repeats + 1)
        stored = self._measure(self._stored, plan.seed)
        self._step(1, plan.repeats + 1)
        squares = []
        for repeat in range(plan.repeats if self._laws else 0):
            seed = plan.seed + repeat
            weights = {name: redraw(self._stored[name], law, seed, name) for name, law in self._laws.items()}
            squares.append(self._measure(weights, seed))
            self._step(repeat + 2, plan.repeats + 1)
        groups = (set(self._laws), set(self._graph.parameters) - set(self._laws))
        drawn, kept = (_names(self._graph, group) for group in groups)
        return Runs(
            squares=tuple(squares) or (stored,),
            samples=self._inputs.samples,
            inputs=self._inputs.described,
            stored=stored,
            drawn=drawn,
            kept=kept,
            notes=tuple(self._notes(len(drawn), len(kept))),
        )

    def _measure(self, weights: Mapping[str, Array], seed: int) -> Squares:
        try:
            values = self._session.run({**self._inputs.feeds, **weights}, self._found, seed)
        except Exception as error:
            raise _cannot_run(error) from error
        lengths = [mean_squares(values.get(point.value), point, self._inputs.samples) for point in self._points]
        gains = self._response.gains(weights, seed)
        return Squares(tuple(lengths), tuple(gains), (None,) * len(self._points))

    def _notes(self, drawn: int, kept: int) -> list[str]:
        notes = [
            f"{drawn} of {drawn + kept} parameters drawn anew from the distributions that they show in the file; "
            "the rest, constant or of unknown distribution, are as stored"
            if drawn
            else "no parameter has a distribution to draw from: the file was measured once, as it is"
        ]
        if normalises_batch(self._graph) and self._inputs.samples != ASSUMED_SAMPLES:
            notes.append(
                f"batch normalisation saw {self._inputs.samples} samples, and the prediction assumes {ASSUMED_SAMPLES}"
            )
        if self._response.reason:
            notes.append(f"the response to a perturbation could not be measured: {self._response.reason}")
        return [*notes, "gradients of an ONNX file are not measured"]


def _inputs(file: ModelFile, graph: Graph, settings: Settings, seed: int) -> _Inputs:
    """Standard normal numbers, uniform ids where an embedding reads them, else what hides and changes nothing."""
    initial = {tensor.name for tensor in file.proto.graph.initializer} | set(file.sparse)
    entries = [entry for entry in file.proto.graph.input if entry.name not in initial]
    sizes = resolve_inputs(entries, file.path, shapes=settings.shapes, dims=settings.dims)
    feeds: dict[str, Array] = {}
    for name, shape in sizes.shapes.items():
        if shape is None:
            raise ModelLoadError(
                f"the shape of input {name} is not in the file",
                f"give it with --input-shape {name}=...",
                kind="no-input",
            )
        feeds[name] = _values(name, shape, sizes.dtypes[name], graph, seed)
    shown = ", ".join(f"{name} {sizes.dtypes[name]}{list(value.shape)}" for name, value in feeds.items())
    first = next((value for value in feeds.values() if value.ndim), None)
    return _Inputs(feeds, 1 if first is None else first.shape[0], f"{shown} (values drawn)")


def _values(name: str, shape: tuple[int, ...], dtype: str, graph: Graph, seed: int) -> Array:
    rng = generator(seed, f"input {name}")
    if dtype in _FED:
        drawn = rng.standard_normal(shape)
        if drawn.ndim > 1 and drawn.size:
            # Of mean square one in every sample, as the analysis assumes: there is one batch for all draws.
            drawn /= np.sqrt(np.square(drawn).mean(axis=tuple(range(1, drawn.ndim)), keepdims=True))
        return drawn.astype(dtype)
    neutral = neutral_input(name, shape, dtype)
    if neutral is not None:
        return neutral[0]
    if not dtype.startswith(("int", "uint", "bool")):
        message = f"input {name} has element type {dtype or 'unknown'}, which cannot be drawn"
        raise ModelLoadError(message, "export the model with float32 inputs", kind="element-type")
    rows = rows_of_ids(graph, name)
    # One is a valid id, length, step and mask alike; zero is no length, and masks everything.
    return np.ones(shape, dtype) if rows is None else rng.integers(0, rows, shape).astype(dtype)


def _laws(file: ModelFile, graph: Graph) -> dict[str, Distribution]:
    """Initialisers that the analysis reads as initial weights, and can be drawn anew -> their distribution."""
    initial = {tensor.name for tensor in file.proto.graph.initializer}
    return {
        name: parameter.distribution
        for name, parameter in graph.parameters.items()
        if name in initial and parameter.dtype in _FED and family_to_draw(parameter.distribution) is not None
    }


def _names(graph: Graph, keys: set[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(parameter.name for key, parameter in graph.parameters.items() if key in keys))


def _cannot_run(error: Exception) -> ModelLoadError:
    # Its messages begin with a code and a place in its own source.
    text = shorten(re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error)), 300, placeholder=" …")
    return ModelLoadError(f"onnxruntime cannot run it: {text}", "export it again, or measure its factory", kind="run")
