"""The built-in rules of initcheck; ``RULES`` is what the entry point names."""

from __future__ import annotations

from initcheck_rules.ini101_vanishing_signal import VanishingSignal
from initcheck_rules.ini102_exploding_signal import ExplodingSignal
from initcheck_rules.ini201_residual_explosion import ResidualExplosion
from initcheck_rules.ini301_width_reciprocal_sum import WidthReciprocalSum

__all__ = ["RULES"]

RULES = (
    VanishingSignal,
    ExplodingSignal,
    ResidualExplosion,
    WidthReciprocalSum,
)
