"""The response of a file to a small perturbation of its inputs, by running it twice in double precision."""

from __future__ import annotations

from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np

from initcheck.errors import ModelLoadError
from initcheck.feeding import split_samples
from initcheck.graph import Op
from initcheck.sources.onnx.draws import generator
from initcheck.sources.onnx.runnable import PERTURBATION, Session, in_double, perturbable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from onnx import ModelProto

    from initcheck.graph import Graph
    from initcheck.runs import Point
    from initcheck.sources.onnx.known import Array

__all__ = ["Response", "mean_squares"]

STEP = 1e-6
"""Finite difference, relative to the input: the root of double precision's, with room for signals that shrink."""

Rows = list["Array | None"]


class Response:
    """Measures signal gains, where onnxruntime has the model's operators in double precision.

    Args:
        model: As it is run in the file's own precision.
        graph: As lowered from it.
        points: Values to measure.
        inputs: Values of the model's inputs.
        samples: Samples in the batch.

    Attributes:
        reason: Why nothing could be measured, empty where it could.
    """

    def __init__(
        self, model: ModelProto, graph: Graph, points: Sequence[Point], inputs: Mapping[str, Array], samples: int
    ) -> None:
        self.reason = ""
        self._points, self._inputs, self._samples = points, inputs, samples
        self._real = [name for name, value in inputs.items() if value.dtype.kind == "f"]
        embedded = [
            node.outputs[0] for node in graph.nodes if node.op is Op.EMBEDDING and node.inputs[0] in graph.values
        ]
        made = {name for node in model.graph.node for name in node.output}
        self._embedded = [name for name in embedded if name in made]
        self._outputs = sorted({point.value for point in points} & made | set(self._embedded))
        self._model: ModelProto | None = model
        self._session: Session | None = None
        if not self._real and not self._embedded:
            self.reason = "there is neither a real-valued input nor an embedding of ids"

    def gains(self, weights: Mapping[str, Array], seed: int) -> Rows:
        """Mean square of the response of every point, per sample, relative to that of the perturbation.

        Args:
            weights: Values of the weights that are fed.
            seed: Of the direction, and of what the model itself draws.

        Returns:
            None everywhere where it cannot be measured; ``reason`` then says why.
        """
        try:
            return [None] * len(self._points) if self.reason else self._gains(weights, seed)
        except ModelLoadError:
            raise
        except Exception as error:  # noqa: BLE001 - what onnxruntime lacks it says in many ways
            text = shorten(str(error).rpartition(" : ")[2], 200, placeholder=" …")
            self.reason = f"onnxruntime does not run it in double precision ({text})"
            return [None] * len(self._points)

    def _gains(self, weights: Mapping[str, Array], seed: int) -> Rows:
        base = {
            **{name: _wide(value) for name, value in (*self._inputs.items(), *weights.items())},
            **{name + PERTURBATION: np.zeros(()) for name in self._embedded},
        }
        before = self._run(base, seed)
        if not _are_equal(before, self._run(base, seed)):
            self.reason = "the model draws random numbers that cannot be repeated"
            return [None] * len(self._points)
        moved = {**{name: base[name] for name in self._real}, **{name: before[name] for name in self._embedded}}
        sizes = [float(np.sqrt(np.square(value).mean())) for value in moved.values() if value.size]
        step = STEP * min((size for size in sizes if size > 0.0), default=1.0)
        rng = generator(seed, "direction")
        directions = {name: rng.standard_normal(value.shape) for name, value in moved.items()}
        changed = {name: base[name] + step * directions[name] for name in self._real}
        changed |= {name + PERTURBATION: step * directions[name] for name in self._embedded}
        after = self._run({**base, **changed}, seed)
        power = np.concatenate([_by_sample(value, self._samples) for value in directions.values()], 1)
        per_sample = np.square(power).mean(1)
        rows: Rows = []
        for point in self._points:
            value = point.value
            difference = (after[value] - before[value]) / step if value in after else None
            squares = mean_squares(difference, point, self._samples)
            same = squares is not None and len(squares) == len(per_sample)
            rows.append(None if squares is None else squares / (per_sample if same else per_sample.mean()))
        return rows

    def _run(self, feeds: Mapping[str, Array], seed: int) -> dict[str, Array]:
        if self._session is None and self._model is not None:
            self._session = Session(perturbable(in_double(self._model), self._embedded))
            self._model = None
        assert self._session is not None, "made by the first run"
        return self._session.run(feeds, self._outputs, seed)


def mean_squares(value: Array | None, point: Point, samples: int) -> Array | None:
    """Mean square of every sample, of shape (samples,); of shape (1,) where the value has no batch axis."""
    if value is None or not value.size or value.dtype.kind != "f":
        return None
    same_rank = point.shape is not None and value.ndim == len(point.shape)
    squares: Array = np.square(_rows(value, samples, point.batch_axis if same_rank else 0)).mean(1)
    return squares


def _by_sample(value: Array, samples: int) -> Array:
    """Rows of the samples, or for a value without a batch axis the same row for each."""
    rows = _rows(value, samples, 0)
    return rows if len(rows) == samples else np.broadcast_to(rows, (samples, rows.shape[1]))


def _rows(value: Array, samples: int, axis: int | None) -> Array:
    wide = value.astype(np.float64)
    front, rows = split_samples(wide.shape, samples, axis)
    return np.moveaxis(wide, front, 0).reshape(rows, -1) if wide.ndim else wide.reshape(1, 1)


def _wide(value: Array) -> Array:
    return value.astype(np.float64) if value.dtype.kind == "f" else value


def _are_equal(first: Mapping[str, Array], second: Mapping[str, Array]) -> bool:
    return all(np.array_equal(value, second[name], equal_nan=True) for name, value in first.items())
