"""How much of the values attention weights see: overlaps of the rows of a softmax of Gaussian logits, sampled."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from initcheck.signal.profile import Profile
    from initcheck.signal.source import Logits

__all__ = ["Overlaps", "overlaps"]

Array = NDArray[np.float64]

_ALIKE_ROWS = 16
_UNLIKE_ROWS = 48
_PLANES = 8
_LOOKED_AT = 1024
_WORK = 1 << 17
_LARGEST_LOGIT_VARIANCE = 400.0


@dataclass(frozen=True, slots=True)
class Overlaps:
    """Second moments of attention weights A over values of mean-square profile p (THEORY 2.8).

    Attributes:
        same: E Σ_b A_ab² p_b of every query a.
        whole: E (Σ_b A_ab sqrt(p_b))² of every query, 1 where the profile is uniform.
        other: E Σ_b A_ab A_a'b p_b, mean over two queries.
        whole_other: E Σ_b A_ab sqrt(p_b) Σ_b A_a'b sqrt(p_b), mean over two queries.
        response: Mean over queries of the mean square change of Σ_b A_ab v_b, v of variance 1, where the logits change
            by independent amounts of mean square 1: Σ A² - 2 Σ A³ + (Σ A²)², S (1 - S) for uniform weights.
    """

    same: Array
    whole: Array
    other: float
    whole_other: float
    response: float


def overlaps(
    logits: Logits, queries: int, keys: int, profile: Profile | None = None, values: Profile | None = None
) -> Overlaps:
    """Overlaps by fixed-seed sampling with the concrete mask.

    Without a mask and profiles all queries are alike and few are sampled. Else queries are sampled closely at first,
    where a causal mask leaves few keys, then ever further apart, and interpolated between.

    Args:
        logits: Their law, their mask included.
        queries: Rows of A.
        keys: Columns of A.
        profile: Of the logits, broadcasting to (..., queries, keys).
        values: Of the values, (..., keys, 1).
    """
    variance = float(f"{min(max(logits.variance, 0.0), _LARGEST_LOGIT_VARIANCE):.3g}")
    correlation = round(min(max(logits.row_correlation, 0.0), 1.0), 3)
    if logits.mask is None and profile is None and values is None:
        found = _alike(variance, correlation, min(queries, _ALIKE_ROWS), keys)
        return Overlaps(np.full(queries, found.same.mean()), np.ones(queries), found.other, 1.0, found.response)
    rows = _chosen_rows(queries)
    weights = np.ones(keys) if values is None else np.broadcast_to(_plane(values, -2), (keys, 1))[:, 0]
    spread = np.ones((1, 1)) if profile is None else _plane(profile, None)
    spread = np.broadcast_to(spread, (queries, keys))[rows]
    planes, shares = _mask_planes(logits.mask, queries, keys, rows)
    results = [_sampled(variance, correlation, plane, spread, weights, rows, queries) for plane in planes]
    return Overlaps(
        np.average([found.same for found in results], axis=0, weights=shares),
        np.average([found.whole for found in results], axis=0, weights=shares),
        float(np.average([found.other for found in results], weights=shares)),
        float(np.average([found.whole_other for found in results], weights=shares)),
        float(np.average([found.response for found in results], weights=shares)),
    )


@lru_cache(maxsize=256)
def _alike(variance: float, correlation: float, rows: int, keys: int) -> Overlaps:
    return _sampled(
        variance, correlation, np.zeros((rows, keys)), np.ones((rows, keys)), np.ones(keys), np.arange(rows), rows
    )


def _chosen_rows(queries: int) -> NDArray[np.intp]:
    if queries <= _UNLIKE_ROWS:
        return np.arange(queries)
    near = np.geomspace(1.0, queries, _UNLIKE_ROWS * 2 // 3) - 1.0
    far = np.linspace(0.0, queries - 1.0, _UNLIKE_ROWS // 3)
    return np.unique(np.concatenate([near, far]).round().astype(np.intp))


def _plane(profile: Profile, kept: int | None) -> Array:
    """The last two axes of a profile, averaged over those before; only one of them where ``kept`` names it."""
    flat = profile.reshape(-1, *profile.shape[-2:]).mean(axis=0) if profile.ndim > 2 else profile
    return flat if kept is None else flat.mean(axis=-1, keepdims=True)


def _mask_planes(mask: Array | None, queries: int, keys: int, rows: NDArray[np.intp]) -> tuple[list[Array], list[int]]:
    """Different masks of heads and windows at the chosen rows, some of them where there are many, and their counts."""
    if mask is None:
        return [np.zeros((len(rows), keys))], [1]
    flat = mask.reshape(-1, *mask.shape[-2:]) if mask.ndim > 2 else mask[(None,) * (3 - mask.ndim)]
    different: dict[bytes, tuple[Array, int]] = {}
    for plane in flat[:_LOOKED_AT]:
        picked = np.ascontiguousarray(np.broadcast_to(plane, (queries, keys))[rows])
        key = picked.tobytes()
        different[key] = picked, different[key][1] + 1 if key in different else 1
    found = list(different.values())
    chosen = found[:: -(-len(found) // _PLANES)]
    return [plane for plane, _ in chosen], [count for _, count in chosen]


def _sampled(
    variance: float,
    correlation: float,
    mask: Array,
    spread: Array,
    values: Array,
    rows: NDArray[np.intp],
    queries: int,
) -> Overlaps:
    """Overlaps of all queries from those of some.

    Args:
        variance: Of one query's logits over keys, mean over positions.
        correlation: Of two queries' logits.
        mask: Additive, (rows, keys).
        spread: Relative variance of every logit, (rows, keys).
        values: Relative mean square of the values, (keys,).
        rows: Which queries are sampled.
        queries: How many there are.
    """
    count, keys = mask.shape
    repeats = max(4, min(64, _WORK // max(count * keys, 1)))
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((repeats, 1, keys))
    own = rng.standard_normal((repeats, count, keys))
    noise = math.sqrt(correlation) * shared + math.sqrt(1.0 - correlation) * own
    logits = math.sqrt(variance) * np.sqrt(spread) * noise + mask
    top = logits.max(axis=-1, keepdims=True)
    weights = np.exp(logits - np.where(np.isfinite(top), top, 0.0))
    total = weights.sum(axis=-1, keepdims=True)
    weights = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0.0)
    plain = np.sum(weights * weights, axis=-1)
    response = np.mean(plain - 2.0 * np.sum(weights**3, axis=-1) + plain * plain, axis=0)
    root = np.sqrt(values)
    seen = weights @ root
    weighted = weights * root
    same = np.mean(np.sum(weighted * weighted, axis=-1), axis=0)
    alone = np.mean(seen * seen, axis=0)
    pairs = np.einsum("rak,rbk->ab", weighted, weighted) / repeats
    crossing = np.einsum("ra,rb->ab", seen, seen) / repeats
    return Overlaps(
        _between(same, rows, queries),
        _between(alone, rows, queries),
        _mean_pair(pairs, same, rows, queries),
        _mean_pair(crossing, alone, rows, queries),
        float(_between(response, rows, queries).mean()),
    )


def _between(found: Array, rows: NDArray[np.intp], queries: int) -> Array:
    """Values at all queries from those at some, interpolated on double logarithmic axes."""
    if len(rows) == queries:
        return found
    with np.errstate(divide="ignore"):
        logs = np.log(np.maximum(found, 1e-300))
    result: Array = np.exp(np.interp(np.log1p(np.arange(queries)), np.log1p(rows), logs))
    return result


def _mean_pair(pairs: Array, alone: Array, rows: NDArray[np.intp], queries: int) -> float:
    """Mean of pair moments of two different queries, each sampled one standing for those near it."""
    count = len(rows)
    if count < 2:
        return float(alone.mean())
    edges = np.concatenate([[-0.5], 0.5 * (rows[1:] + rows[:-1]), [queries - 0.5]])
    stands = np.diff(edges)
    between = pairs.copy()
    # Two queries that one stands for overlap as neighbours do.
    beside = np.diagonal(pairs, 1)
    near = np.concatenate([[beside[0]], np.sqrt(np.maximum(beside[1:] * beside[:-1], 0.0)), [beside[-1]]])
    np.fill_diagonal(between, near)
    chances = np.outer(stands, stands)
    np.fill_diagonal(chances, stands * np.maximum(stands - 1.0, 0.0))
    return max(float(np.sum(chances * between) / np.sum(chances)), 0.0)
