"""What a measurement found beside the prediction: the only thing that reporters of ``initcheck measure`` read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from initcheck.graph import Location
    from initcheck.report import TargetError, WeightRow

__all__ = ["QUANTITIES", "MeasuredLayer", "Measurement", "MeasurementReport", "Plan", "Quantity"]

QUANTITIES = ("length", "signal", "gradient")
"""Attributes of a layer that are a ``Quantity``."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How often and where to run a model.

    Attributes:
        repeats: Initialisations.
        seed: Of the first one; the others count on from it.
        device: As PyTorch spells it: ``cpu``, ``cuda:0``, ``mps``.
    """

    repeats: int = 16
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True, slots=True)
class Quantity:
    """One number of a layer, predicted and measured, as log10 of mean squares.

    Attributes:
        predicted: What the analysis says, None where it says nothing (or zero).
        measured: Mean, over initialisations, of the mean over samples of log10 of a sample's mean square; None where
            nothing was measured, or nothing but zeros and numbers that are not finite.
        standard_error: Of ``measured``, over initialisations; None for fewer than two.
        stored: The same mean for the weights that stand in the file, None for PyTorch models.
        zeros: Samples, over all initialisations, whose mean square is exactly zero; they are no part of the mean.
        nonfinite: Samples whose mean square is not finite; neither are they.
        disagrees: Whether prediction and measurement differ by more than the tolerance and two standard errors.
    """

    predicted: float | None = None
    measured: float | None = None
    standard_error: float | None = None
    stored: float | None = None
    zeros: int = 0
    nonfinite: int = 0
    disagrees: bool = False


@dataclass(frozen=True, slots=True)
class MeasuredLayer:
    """One row of the layer table with what was measured there.

    Attributes:
        path: Module path.
        kind: ``linear``, ``conv2d``, ``layer_norm``, ``relu``, ...
        width: Units of the output, None if unknown.
        weight: Distribution of the weight, None without weights.
        predicted_state: ``ok``, ``zero``, ``nonfinite`` or ``unknown``, by the analysis.
        state: The same for what was measured: ``zero`` if every sample was, ``nonfinite`` if one was, ``unknown`` if
            the value could not be caught.
        length: Mean square of the output.
        signal: Mean-square response to an infinitesimal perturbation of the input, relative to it.
        gradient: Mean square of the gradient with respect to the output, for independent standard normal numbers at the
            main output and relative to their mean square.
        location: Line of the layer.
    """

    path: str
    kind: str
    width: int | None
    weight: WeightRow | None
    predicted_state: str
    state: str
    length: Quantity
    signal: Quantity
    gradient: Quantity
    location: Location | None = None

    @property
    def disagreements(self) -> tuple[str, ...]:
        """Names of the quantities in which prediction and measurement differ."""
        return tuple(name for name in QUANTITIES if getattr(self, name).disagrees)


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was predicted and measured for one model.

    Attributes:
        target: As the user named it.
        source: ``onnx`` or ``torch``.
        parameters: Number of elements of all parameters.
        weighted_layers: Layers that own a weight.
        initialisations: How many were measured.
        seeds: Seed of each.
        samples: Samples in the batch, the same batch for every initialisation.
        inputs: Shapes, types and origin of the batch.
        layers: The layer table.
        drawn: Parameters of a file that were drawn anew; empty for PyTorch, where the factory draws.
        kept: Those that are as the file has them.
        assumptions: Sentences about what the analysis assumed.
        notes: Sentences about how the model was read and run.
    """

    target: str
    source: str
    parameters: int
    weighted_layers: int
    initialisations: int
    seeds: tuple[int, ...]
    samples: int
    inputs: str
    layers: tuple[MeasuredLayer, ...]
    drawn: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def measured(self) -> int:
        """Number of layers whose value could be caught."""
        return sum(layer.state != "unknown" for layer in self.layers)

    @property
    def disagreeing(self) -> int:
        """Number of layers where some quantity disagrees."""
        return sum(bool(layer.disagreements) for layer in self.layers)


@dataclass(frozen=True, slots=True)
class MeasurementReport:
    """One run.

    Attributes:
        version: Version of initcheck.
        plan: What was asked for.
        target: As the user named it.
        source: ``onnx`` or ``torch``, empty when the target could not be found.
        measurement: What came of it; None where ``errors`` says why there is none.
        errors: Why there is no measurement.
    """

    version: str
    plan: Plan
    target: str
    source: str = ""
    measurement: Measurement | None = None
    errors: tuple[TargetError, ...] = ()
