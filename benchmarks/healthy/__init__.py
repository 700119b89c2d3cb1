"""Models that are trained every day, as people write them: none may get a warning or an error.

Each factory returns a module at the initialisation it is trained from. Those that people train with Adam only are
judged by its bounds as well as by the default ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from healthy.convolutional import CONVOLUTIONAL
from healthy.generative import GENERATIVE
from healthy.hub import DISPUTED, FULL, TINY
from healthy.mobile import MOBILE
from healthy.other import OTHER
from healthy.sequences import SEQUENCES
from healthy.unusual import UNUSUAL

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

__all__ = ["ADAM", "DISPUTED", "FULL", "PLAIN", "SMALL", "TINY"]

PLAIN: dict[str, Callable[[], nn.Module]] = {**CONVOLUTIONAL, **MOBILE, **GENERATIVE, **SEQUENCES, **OTHER, **UNUSUAL}
"""Plain torch."""

SMALL: dict[str, Callable[[], nn.Module]] = {**PLAIN, **TINY}
"""Those that a test may build."""

SGD = frozenset(
    {
        *CONVOLUTIONAL,
        *MOBILE,
        "word_language_model",
        "bag_classifier",
        "dlrm",
        "hub_resnet50",
        "hub_resnet_tiny",
        "regnet_tiny",
        "simclr",
    }
)

ADAM = frozenset({*SMALL, *FULL, *DISPUTED} - SGD)
"""Trained with Adam or a relative of it."""
