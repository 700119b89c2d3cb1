from __future__ import annotations

import math

import numpy as np
import pytest

from initcheck.distribution import Distribution, Family
from initcheck.estimate import estimate
from initcheck.rows import RowSample

RNG = np.random.default_rng


def test_mean_square_holds_variance_and_mean():
    d = Distribution(Family.NORMAL, 100, 0.5, 0.04)
    assert d.std == pytest.approx(0.2)
    assert d.mean_square == pytest.approx(0.29)


def test_sampling_error_of_the_variance_is_what_repetition_shows():
    found = [estimate((RNG(seed).standard_normal((20, 50)),), (20, 50))[0] for seed in range(200)]
    spread = np.std([d.variance for d in found]) / np.mean([d.variance for d in found])
    # 200 repetitions know a spread to 1/sqrt(400) = 5 %; three of those.
    assert spread == pytest.approx(np.mean([d.variance_relative_error for d in found]), rel=0.15)
    assert spread == pytest.approx(math.sqrt(2 / 1000), rel=0.15)


def test_exact_and_constant_have_no_error():
    assert Distribution(Family.NORMAL, 100, 0.0, 1.0, exact=True).variance_relative_error == 0.0
    assert Distribution(Family.CONSTANT, 100, 1.0, 0.0).variance_relative_error == 0.0
    assert Distribution(Family.UNKNOWN, 0, 0.0, 0.0).variance_relative_error == 0.0


def test_effective_mean_forgets_what_sampling_explains():
    assert Distribution(Family.NORMAL, 10_000, 0.04, 1.0).effective_mean == 0.0
    assert Distribution(Family.NORMAL, 10_000, 0.06, 1.0).effective_mean == 0.06
    assert Distribution(Family.NORMAL, 10_000, 0.04, 1.0, exact=True).effective_mean == 0.04
    assert Distribution(Family.CONSTANT, 10_000, 0.04, 0.0).effective_mean == 0.04


def test_zero_and_constant():
    zero, _ = estimate((np.zeros((4, 8), np.float32),), (4, 8))
    assert zero.is_zero
    assert zero.is_constant
    assert not Distribution(Family.UNKNOWN, 0, 0.0, 0.0).is_zero
    one, _ = estimate((np.ones(7, np.float32),), (7,))
    assert one.is_constant
    assert not one.is_zero


@pytest.mark.parametrize("size", [256, 1024, 65_536])
@pytest.mark.parametrize("family", [Family.NORMAL, Family.UNIFORM])
def test_family_is_told_from_values(family, size):
    draw = {Family.NORMAL: lambda r: r.standard_normal(size), Family.UNIFORM: lambda r: r.uniform(-1, 1, size)}[family]
    right = sum(estimate((draw(RNG(seed)) * 0.137,), (size,))[0].family is family for seed in range(100))
    assert right >= 97


def test_trained_looking_values_have_no_family():
    rows = np.exp(RNG(0).standard_normal((256, 1)))
    d, facts = estimate((rows * RNG(1).standard_normal((256, 128)),), (256, 128))
    assert d.family is Family.UNKNOWN
    assert d.scheme == ""
    assert facts is not None
    assert facts.norm_variation > 4 * facts.norm_variation_expected


@pytest.mark.parametrize("out_axis", [0, 1])
def test_row_norms_vary_as_expected_of_independent_elements(out_axis):
    ratios = []
    for seed in range(40):
        w = RNG(seed).standard_normal((300, 200)).astype(np.float32)
        facts = estimate((w,), w.shape, out_axis=out_axis)[1]
        ratios.append(facts.norm_variation / facts.norm_variation_expected)
    # A coefficient of variation over 200 rows or more has an error of 5 %; the mean of 40 of 0.8 %.
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.03)
    assert np.std(ratios) < 0.08


def test_expected_row_variation_allows_for_a_mean():
    w = RNG(0).standard_normal((256, 256)) + 2.0
    facts = estimate((w,), w.shape)[1]
    assert facts.norm_variation == pytest.approx(facts.norm_variation_expected, rel=0.2)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("shape", [(64, 32), (64, 16, 3, 3), (500, 8)])
def test_duplicated_rows_are_counted(shape, dtype):
    w = RNG(5).standard_normal(shape).astype(dtype)
    assert estimate((w,), shape)[1].distinct == shape[0]
    w[10] = w[3]
    w[40:44] = w[20]
    assert estimate((w,), shape)[1].distinct == shape[0] - 5
    moved = np.moveaxis(w, 0, 1).copy()
    assert estimate((moved,), moved.shape, out_axis=1)[1].distinct == shape[0] - 5


def test_rows_that_differ_in_one_late_element_are_distinct():
    w = np.tile(RNG(6).standard_normal(500), (20, 1))
    w[:, -1] += np.arange(20) // 2
    assert estimate((w,), w.shape)[1].distinct == 10


def test_constant_rows():
    facts = estimate((np.full((30, 20), 0.5, np.float32),), (30, 20))[1]
    assert (facts.count, facts.distinct, facts.norm_variation) == (30, 1, 0.0)


def test_a_stream_of_reused_buffers_gives_what_the_array_gives():
    w = RNG(7).standard_normal((700, 300)).astype(np.float32)
    w[5] = w[600]
    buffer = np.empty(10_001, np.float32)

    def blocks():
        flat = w.reshape(-1)
        for start in range(0, flat.size, buffer.size):
            part = flat[start : start + buffer.size]
            buffer[: part.size] = part
            yield buffer[: part.size]

    streamed, whole = estimate(blocks(), w.shape), estimate((w,), w.shape)
    assert streamed[1].distinct == whole[1].distinct == 699
    assert streamed[1].norm_variation == whole[1].norm_variation
    assert streamed[1].norm_variation_expected == pytest.approx(whole[1].norm_variation_expected, rel=1e-5)
    assert streamed[0].scheme == whole[0].scheme
    assert streamed[0].variance == pytest.approx(whole[0].variance, rel=1e-6)


def test_a_large_stream_is_judged_by_part_of_its_rows(monkeypatch):
    monkeypatch.setattr("initcheck.estimate.RowSample", lambda shape: RowSample(shape, limit=64 * 300 * 2))
    w = RNG(8).standard_normal((700, 300)).astype(np.float32)
    facts = estimate(iter(np.array_split(w.reshape(-1), 13)), w.shape)[1]
    assert facts.count == 700
    assert facts.examined == facts.distinct == 128
    assert facts.norm_variation == pytest.approx(facts.norm_variation_expected, rel=0.25)
    w[:] = w[0]
    assert estimate(iter(np.array_split(w.reshape(-1), 13)), w.shape)[1].distinct == 1
    assert estimate(iter(np.array_split(w.reshape(-1), 13)), (1, 700 * 300))[1] is None


def test_nonfinite_elements_are_counted_and_left_out():
    w = RNG(9).standard_normal((64, 64)).astype(np.float32)
    w[0, 0], w[1, 1] = np.nan, np.inf
    d, facts = estimate((w,), w.shape)
    assert d.nonfinite == 2
    assert d.scheme == ""
    assert d.variance == pytest.approx(np.float64(w[np.isfinite(w)]).var(), rel=1e-5)
    assert facts.distinct == 64
    nothing, _ = estimate((np.full((4, 4), np.nan, np.float32),), (4, 4))
    assert (nothing.nonfinite, nothing.mean, nothing.variance) == (16, 0.0, 0.0)


@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), ()])
def test_empty_and_scalar_tensors(shape):
    d, facts = estimate((np.ones(shape, np.float32),), shape)
    assert d.size == math.prod(shape)
    assert facts is None


@pytest.mark.parametrize("factor", [1e-250, 1e-160, 1e-30, 1e30, 1e200])
@pytest.mark.parametrize("shape", [(100,), (40, 30)])
def test_extreme_scales_do_not_fail(shape, factor):
    d, _ = estimate((RNG(10).standard_normal(shape) * factor,), shape)
    assert d.size == math.prod(shape)
