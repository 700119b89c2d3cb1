"""Which known scheme a tensor was drawn by, as far as its values can tell."""

from __future__ import annotations

import math
from dataclasses import replace

from initcheck.distribution import Distribution, Family
from initcheck.families import FEWEST, SIGNIFICANCE, TRUNCATION, kurtosis_error, truncated_kurtosis
from initcheck.schemes import Scheme, parse_scheme

__all__ = ["drawn_part", "name_scheme"]

SMALLEST = 64
"""Fewest elements that are named: 64 normal ones look flat in 6 sets of 100, 128 in less than one of 1000."""

PADDING = 0.1
"""Share of exact zeros that is put down to padding rows, which ``nn.Embedding`` clears after the draw."""

ROUNDING = 2.0**-9
"""Relative rounding of a bfloat16, by which the largest element may miss the bound it was drawn within."""

_NORMAL = (
    ("kaiming_normal", 0.0),
    ("xavier_normal", 0.5),
    ("kaiming_normal(fan_out)", 1.0),
    ("lecun_normal", 1.5),
    ("xavier_normal(gain=√2)", 2.0),
    ("xavier_normal(gain=5/3)", 2.5),
    ("kaiming_normal(gain=5/3)", 3.0),
    ("kaiming_normal(a=0.2)", 3.0),
    ("kaiming_normal(fan_out, gain=1)", 3.5),
    *((f"{base}_normal(gain={gain})", 5.0) for base in ("kaiming", "xavier") for gain in ("0.1", "0.5", "2", "3")),
    *((f"normal(0, {std})", 1.0) for std in ("1", "0.02", "0.01")),
    *((f"normal(0, {std})", 3.0) for std in ("0.5", "0.2", "0.1", "0.05", "0.001")),
)
_UNIFORM = (
    ("kaiming_uniform(a=√5)", 0.0),
    ("xavier_uniform", 0.5),
    ("kaiming_uniform", 0.5),
    ("lecun_uniform", 1.0),
    ("kaiming_uniform(fan_out)", 1.5),
    ("xavier_uniform(gain=√2)", 2.0),
    ("xavier_uniform(gain=5/3)", 2.5),
    ("kaiming_uniform(gain=5/3)", 3.0),
    ("kaiming_uniform(a=0.2)", 3.0),
    ("kaiming_uniform(fan_out, gain=1)", 3.5),
    *((f"{base}_uniform(gain={gain})", 5.0) for base in ("kaiming", "xavier") for gain in ("0.1", "0.5", "2", "3")),
    *((f"uniform(±{bound})", 3.0) for bound in ("1", "0.5", "0.1", "0.08", "0.05", "0.02", "0.01")),
)
_TRUNCATED = (
    ("kaiming_normal(truncated)", 0.0),
    ("lecun_normal(truncated)", 0.0),
    ("xavier_normal(truncated)", 0.5),
    ("kaiming_normal(fan_out, truncated)", 1.0),
    ("kaiming_normal(uncorrected)", 1.5),
    ("lecun_normal(uncorrected)", 1.5),
    ("xavier_normal(uncorrected)", 2.0),
    ("kaiming_normal(fan_out, uncorrected)", 2.5),
    *((f"truncated_normal(std={std})", 3.0) for std in ("1", "0.1", "0.05", "0.02", "0.01")),
)
_OF_VECTORS = (("uniform(±1/√fan_in)", 0.0),)
_PARSED = {
    Family.NORMAL: [(name, parse_scheme(name), cost) for name, cost in _NORMAL],
    Family.UNIFORM: [(name, parse_scheme(name), cost) for name, cost in (*_OF_VECTORS, *_UNIFORM)],
    Family.TRUNCATED: [(name, parse_scheme(name), cost) for name, cost in _TRUNCATED],
}
"""Candidates with their cost: minus the logarithm of how common they are beside the commonest, a judgement.

Where fan_in = fan_out, xavier_normal, lecun_normal and kaiming_normal with gain 1 are one law. It is called
xavier_normal, because that is the one of the three that ``nn.init`` offers by name; likewise kaiming_normal goes
before xavier_normal(gain=√2) and fan_in before fan_out. Where fan_out = 2 fan_in, lecun_normal and
kaiming_normal(fan_out) are one law, and ResNets draw by the latter.
"""

_KURTOSIS = {Family.NORMAL: 3.0, Family.UNIFORM: 1.8, Family.TRUNCATED: truncated_kurtosis(TRUNCATION)}


def name_scheme(distribution: Distribution, shape: tuple[int, ...], fan_in: float = 0, fan_out: float = 0) -> str:
    """Name of the scheme whose law fits, the most probable where several do.

    A law fits when the variance is within ``SIGNIFICANCE`` standard errors of its own, and for a uniform also the
    largest element within its bound, and near enough to it (14/size, missed once in a million). Among those that
    fit, squared distance in standard errors over two plus the candidate's cost decides, ties by order. Where none
    fits, the estimated law itself with as few digits as its error allows: ``normal(0, 0.0312)``.

    Args:
        distribution: Estimated moments with their family.
        shape: Stored shape; a vector has no fan of its own.
        fan_in: As ``nn.init`` counts (``init_fans``); for a bias that of the weight beside it. 0 if unknown.
        fan_out: The same.

    Returns:
        A name that ``parse_scheme`` understands; empty for a shape without a law, fewer than ``SMALLEST`` elements
        or non-finite ones.
    """
    if distribution.nonfinite or not distribution.size:
        return ""
    if distribution.family is Family.CONSTANT:
        value = distribution.mean
        return {0.0: "zeros", 1.0: "ones"}.get(value, f"constant({value:.6g})")
    if distribution.family is Family.IDENTITY:
        gain = "" if distribution.maximum == 1.0 else f"(gain={distribution.maximum:.6g})"
        return f"{'identity' if len(shape) == 2 else 'dirac'}{gain}"
    if distribution.family is Family.ORTHOGONAL:
        return _name_orthogonal(distribution, shape)
    drawn = drawn_part(distribution)
    family = _likely_family(drawn)
    if drawn.size < SMALLEST or family not in _PARSED or _cut_elsewhere(drawn, family):
        return ""
    vector = len(shape) < 2
    best, lowest = "", math.inf
    if drawn.effective_mean == 0.0:
        for name, scheme, cost in _PARSED[family]:
            if bool(scheme.fan) and vector != (name == "uniform(±1/√fan_in)"):
                continue
            score = _misfit(drawn, family, scheme, fan_in, fan_out) + cost
            if score < lowest:
                best, lowest = name, score
    return best or _name_by_values(drawn, family)


def drawn_part(distribution: Distribution) -> Distribution:
    """The distribution without the zeros that a padding row adds; itself where there are none, or too many."""
    share = distribution.zeros / distribution.size if distribution.size else 0.0
    if not 0.0 < share <= PADDING or distribution.effective_mean != 0.0:
        return distribution
    return replace(
        distribution,
        size=distribution.size - distribution.zeros,
        mean=distribution.mean / (1.0 - share),
        variance=distribution.variance / (1.0 - share),
        kurtosis=distribution.kurtosis * (1.0 - share),
        zeros=0,
    )


def _likely_family(drawn: Distribution) -> Family:
    """The family, for small tensors the one that kurtosis and range make more likely."""
    if drawn.family is not Family.UNKNOWN or not SMALLEST <= drawn.size < FEWEST:
        return drawn.family
    if math.isnan(drawn.kurtosis):
        return Family.UNKNOWN
    # At 2.07 the uniform over this range and the normal of this variance are equally likely.
    flat = (drawn.maximum - drawn.minimum) / drawn.std < 2.0 * 2.07 and drawn.kurtosis < 2.4
    family = Family.UNIFORM if flat else Family.NORMAL
    error = kurtosis_error(family, drawn.size)
    return family if abs(drawn.kurtosis - _KURTOSIS[family]) <= SIGNIFICANCE * error else Family.UNKNOWN


def _cut_elsewhere(drawn: Distribution, family: Family) -> bool:
    """Whether a truncated normal was not cut at two standard deviations, where all named ones are."""
    error = SIGNIFICANCE * kurtosis_error(Family.TRUNCATED, max(drawn.size, 1)) + 0.02
    return family is Family.TRUNCATED and abs(drawn.kurtosis - _KURTOSIS[Family.TRUNCATED]) > error


def _misfit(drawn: Distribution, family: Family, scheme: Scheme, fan_in: float, fan_out: float) -> float:
    """Minus the logarithm of the likelihood, up to a constant; infinite where the law does not fit."""
    variance = scheme.variance(fan_in, fan_out)
    if not variance > 0.0:
        return math.inf
    error = max(math.sqrt((_KURTOSIS[family] - 1.0) / drawn.size), 1e-3 / SIGNIFICANCE)
    z = (drawn.variance / variance - 1.0) / error
    if abs(z) > SIGNIFICANCE:
        return math.inf
    if family is not Family.UNIFORM:
        return z * z / 2.0
    peak = max(-drawn.minimum, drawn.maximum)
    missing = math.sqrt(3.0 * variance) / peak - 1.0
    if not -ROUNDING <= missing <= max(14.0 / drawn.size, ROUNDING):
        return math.inf
    return z * z / 2.0 + abs(missing) * min(drawn.size, 1.0 / ROUNDING)


def _name_orthogonal(distribution: Distribution, shape: tuple[int, ...]) -> str:
    """``orthogonal`` with the gain that its shorter side's norms show."""
    gain = math.sqrt(distribution.mean_square * max(shape[0], distribution.size / shape[0]))
    for known, text in ((1.0, ""), (math.sqrt(2.0), "(gain=√2)"), (5.0 / 3.0, "(gain=5/3)")):
        if abs(gain / known - 1.0) < ROUNDING:
            return f"orthogonal{text}"
    return f"orthogonal(gain={_short(gain, gain * ROUNDING)})"


def _name_by_values(drawn: Distribution, family: Family) -> str:
    """The estimated law itself."""
    n = drawn.size
    if family is Family.UNIFORM:
        slack = max(14.0 / n, ROUNDING) * (drawn.maximum - drawn.minimum)
        if drawn.effective_mean == 0.0:
            return f"uniform(±{_short(max(-drawn.minimum, drawn.maximum), slack / 2.0)})"
        return f"uniform({_short(drawn.minimum, slack)}, {_short(drawn.maximum, slack)})"
    relative = max(3.0 * math.sqrt((_KURTOSIS[family] - 1.0) / n) / 2.0, 5e-4)
    if family is Family.TRUNCATED:
        if drawn.effective_mean != 0.0:
            return ""
        std = drawn.std / math.sqrt(parse_scheme("truncated_normal").variance(0, 0))
        return f"truncated_normal(std={_short(std, std * relative)})"
    mean = drawn.effective_mean
    shown = _short(mean, SIGNIFICANCE * drawn.std / math.sqrt(n)) if mean else "0"
    return f"normal({shown}, {_short(drawn.std, drawn.std * relative)})"


def _short(value: float, error: float) -> str:
    """The number with the fewest digits, at most three, that is within ``error`` of ``value``."""
    if abs(value) <= error:
        return "0"
    for digits in (1, 2):
        text = f"{value:.{digits}g}"
        if abs(float(text) - value) <= error:
            return f"{float(text):g}"
    return f"{value:.3g}"
