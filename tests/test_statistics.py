from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from initcheck.statistics import CHUNK, Moments, array_moments, moments, widen

SIZES = st.sampled_from([1, 2, 3, 17, 1000, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])


def expect(values: np.ndarray, found: Moments, tolerance: float) -> None:
    """Compare with float64 numpy; deviations are measured in units of the largest magnitude, to stay in range."""
    x = values.reshape(-1).astype(np.float64)
    finite = x[np.isfinite(x)]
    assert found.size == x.size
    assert found.nonfinite == x.size - finite.size
    assert found.zeros == int((finite == 0.0).sum())
    if not finite.size:
        assert math.isnan(found.mean)
        return
    assert found.minimum == finite.min()
    assert found.maximum == finite.max()
    if finite.min() == finite.max():
        assert (found.mean, found.variance, found.fourth_moment) == (finite[0], 0.0, 0.0)
        return
    d = finite - finite.mean()
    rms = math.sqrt((finite / np.abs(finite).max() @ finite) / finite.size * np.abs(finite).max())
    assert found.mean == pytest.approx(finite.mean(), abs=tolerance * rms, rel=1e-12)
    assert found.variance == pytest.approx((d * d).mean(), rel=tolerance)
    assert found.fourth_moment == pytest.approx((d**4).mean(), rel=4 * tolerance)
    spread = (np.abs(d) ** 3).mean()
    assert found.cube_sum / finite.size == pytest.approx((d**3).mean(), abs=8 * tolerance * spread)


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=SIZES,
    decade=st.floats(-25, 30),
    shift=st.sampled_from([0.0, 0.3, 1.0, -7.0, 1e3]),
    law=st.sampled_from(["normal", "uniform", "heavy"]),
    dtype=st.sampled_from([np.float32, np.float64]),
    bad=st.lists(st.tuples(st.floats(0, 1), st.sampled_from([math.nan, math.inf, -math.inf])), max_size=3),
    zeros=st.integers(0, 5),
)
def test_moments_agree_with_float64(seed, size, decade, shift, law, dtype, bad, zeros):
    rng = np.random.default_rng(seed)
    x = {"normal": rng.standard_normal, "uniform": rng.random, "heavy": lambda n: rng.standard_t(5, n)}[law](size)
    x = ((x + shift) * 10.0**decade).astype(dtype)
    x[rng.integers(0, size, zeros)] = 0.0
    for where, value in bad:
        x[min(int(where * size), size - 1)] = value
    expect(x, array_moments(x), 1e-5 if dtype == np.float32 else 1e-9)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=SIZES,
    decade=st.floats(-6, 4),
    dtype=st.sampled_from(["float16", "bfloat16"]),
    bad=st.integers(0, 3),
)
def test_sixteen_bits_as_raw_patterns(seed, size, decade, dtype, bad):
    rng = np.random.default_rng(seed)
    x = np.clip(rng.standard_normal(size) * 10.0**decade, -65504, 65504).astype(np.float32)
    x[rng.integers(0, size, bad)] = np.nan
    raw = x.astype(np.float16).view(np.uint16) if dtype == "float16" else (x.view(np.uint32) >> 16).astype(np.uint16)
    expect(widen(raw, dtype), array_moments(raw, dtype), 1e-5)


def test_every_float16_pattern():
    raw = np.arange(1 << 16).astype(np.uint16)
    with np.errstate(invalid="ignore"):
        values = raw.view(np.float16).astype(np.float64)
    found = array_moments(raw, "float16")
    assert (found.nonfinite, found.zeros, found.minimum, found.maximum) == (2048, 2, -65504.0, 65504.0)
    finite = raw[np.isfinite(values)]
    expect(values[np.isfinite(values)], array_moments(finite, "float16"), 1e-5)
    assert [array_moments(finite[k : k + 1], "float16").mean for k in range(0, finite.size, 97)] == [
        float(finite[k : k + 1].view(np.float16)[0]) for k in range(0, finite.size, 97)
    ]


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.int64, np.uint8, np.bool_])
@pytest.mark.parametrize("size", [100, 50_000])
def test_other_types_are_converted(dtype, size):
    x = np.random.default_rng(1).integers(0, 2 if dtype is np.bool_ else 100, size).astype(dtype)
    expect(x.astype(np.float64), array_moments(x), 1e-5)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    cuts=st.lists(st.integers(0, 200_000), max_size=6),
    shift=st.sampled_from([0.0, 5.0]),
)
def test_blocks_agree_with_the_whole(seed, cuts, shift):
    x = (np.random.default_rng(seed).standard_normal(200_000) + shift).astype(np.float32)
    expect(x, moments(np.split(x, sorted(cuts))), 1e-5)


def test_blocks_of_different_means_do_not_cancel():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal(CHUNK) * 1e-3 + mean for mean in (0.0, 1.0, -1e4, 1e4)]).astype(np.float32)
    expect(x, array_moments(x), 1e-9)


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -3e38, 1e-45])
@pytest.mark.parametrize("size", [1, 5, CHUNK + 1])
def test_equal_elements_have_no_variance(value, size):
    x = np.full(size, value, np.float32)
    found = array_moments(x)
    assert found.variance == 0.0
    assert found.fourth_moment == 0.0
    assert found.mean == float(x[0])
    assert math.isnan(found.kurtosis)


def test_gamma_around_one_keeps_its_variance():
    rng = np.random.default_rng(2)
    x = (1.0 + 1e-6 * rng.standard_normal(70_000)).astype(np.float32)
    exact = x.astype(np.float64)
    assert array_moments(x).variance == pytest.approx(exact.var(), rel=1e-9)


def test_extremes_of_float64_stay_finite():
    x = np.random.default_rng(3).standard_normal(1000)
    assert array_moments(x * 1e150).variance == pytest.approx(x.var() * 1e300, rel=1e-9)
    assert array_moments(x * 1e200).variance == math.inf
    assert math.isnan(array_moments(x * 1e200).kurtosis)
    assert array_moments(x * 1e200).mean == pytest.approx(x.mean() * 1e200, rel=1e-9)


def test_nothing_at_all():
    for found in (moments([]), array_moments(np.empty(0, np.float32)), array_moments(np.empty((3, 0), np.float16))):
        assert found.size == found.zeros == 0
        assert math.isnan(found.mean)
        assert math.isnan(found.variance)
    assert array_moments(np.full(7, np.nan, np.float32)).nonfinite == 7
    assert array_moments(np.full(20_000, np.inf, np.float16)).nonfinite == 20_000


def test_non_contiguous_and_many_axes():
    x = np.random.default_rng(4).standard_normal((40, 50, 6)).astype(np.float32)
    expect(x[::2, :, 1:5], array_moments(x[::2, :, 1:5]), 1e-5)
    assert array_moments(x.T).variance == pytest.approx(array_moments(x).variance, rel=1e-6)
