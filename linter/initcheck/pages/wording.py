"""Bounds and options in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from initcheck.pages.page import BoundsOption, Option
    from initcheck.rule import Bounds

__all__ = ["bounds_sentence", "bounds_words", "option_sentence"]


def bounds_words(bounds: Bounds) -> str:
    """``warning from 4, error from 6``; an infinite bound is never reached and not named."""
    parts = (("warning", bounds.warning), ("error", bounds.error))
    return ", ".join(f"{severity} from {bound:g}" for severity, bound in parts if math.isfinite(bound)) or "never"


def bounds_sentence(option: BoundsOption) -> str:
    """``bounds (decades): sgd warning from 4, error from 6; adam warning from ...``."""
    parts = (f"{optimizer} {bounds_words(bounds)}" for optimizer, bounds in option.bounds.items())
    quantity = f" ({option.quantity})" if option.quantity else ""
    return f"{option.name}{quantity}: {'; '.join(parts)}"


def option_sentence(option: Option) -> str:
    """``name = default (meaning)``."""
    meaning = f" ({option.meaning})" if option.meaning else ""
    return f"{option.name} = {option.default!r}{meaning}"
