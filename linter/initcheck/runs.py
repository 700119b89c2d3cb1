"""What running a model gives, before it is averaged: the mean squares of every sample of every initialisation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Point", "Runs", "Squares"]


@dataclass(frozen=True, slots=True)
class Point:
    """A value of the graph that is to be measured.

    Attributes:
        value: Its name in the graph.
        shape: Its shape as traced, None if unknown.
        batch_axis: The axis that samples lie along, None where no axis is the batch's alone.
    """

    value: str
    shape: tuple[int, ...] | None = None
    batch_axis: int | None = None


@dataclass(frozen=True, slots=True)
class Squares:
    """Mean squares of one initialisation; per point an array (samples,), None where nothing could be measured.

    Attributes:
        length: Of the value.
        signal: Of its response to an infinitesimal perturbation of the input, relative to the perturbation's.
        gradient: Of the gradient with respect to it.
    """

    length: tuple[NDArray[np.float64] | None, ...]
    signal: tuple[NDArray[np.float64] | None, ...]
    gradient: tuple[NDArray[np.float64] | None, ...]


@dataclass(frozen=True, slots=True)
class Runs:
    """All that was run of one model.

    Attributes:
        squares: One entry for every initialisation.
        samples: Samples in the batch.
        inputs: Shapes, types and origin of the batch.
        stored: The same for the weights that stand in the file, None for PyTorch models.
        drawn: Parameters of a file that were drawn anew.
        kept: Those that kept the file's values.
        notes: Sentences about what could not be done as usual.
    """

    squares: tuple[Squares, ...]
    samples: int
    inputs: str
    stored: Squares | None = None
    drawn: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)
