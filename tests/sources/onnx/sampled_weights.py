"""Weights for fixtures."""

from __future__ import annotations

import numpy as np


def sampled(*shape: int, seed: int = 0, std: float = 1.0) -> np.ndarray:
    """Independent normal numbers."""
    return (std * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)
