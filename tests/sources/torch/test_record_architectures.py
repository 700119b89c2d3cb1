"""Recorded laws against real builds, for a representative third of the architectures."""

from __future__ import annotations

from pathlib import Path

import pytest
from architectures import ARCHITECTURES, REPRESENTATIVE
from empirical import compare, draws

from initcheck.sources.torch.build import build

ROOT = Path(__file__).resolve().parent


@pytest.mark.parametrize("name", REPRESENTATIVE)
def test_every_parameter(name: str) -> None:
    factory = ARCHITECTURES[name]
    built = build(factory, max_memory=1 << 30, root=ROOT)
    expected = draws(factory)
    assert set(expected) <= set(built.parameters)
    results = [compare(built.parameters[key], values) for key, values in expected.items()]
    assert [result for result in results if not result.right] == []
    assert sum(result.known for result in results) >= 0.98 * len(results)
    assert sum(result.exact for result in results) >= 0.5 * len(results)
