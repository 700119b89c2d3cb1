from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import init

from initcheck.distribution import Distribution, Family
from initcheck.errors import UsageError
from initcheck.estimate import estimate
from initcheck.families import truncated_variance
from initcheck.naming import name_scheme
from initcheck.schemes import SCHEMES, counted_fan, init_fans, parse_scheme, scheme_distribution

SHAPES = [(128, 96), (96, 512), (40, 24, 3, 3)]


def keras_he_normal(w):
    """Cut at two standard deviations, without restoring the variance."""
    std = math.sqrt(2.0 / init_fans(w.shape)[0])
    init.trunc_normal_(w, std=std, a=-2 * std, b=2 * std)


def jax_lecun_normal(w):
    std = math.sqrt(1.0 / init_fans(w.shape)[0] / truncated_variance(2.0))
    init.trunc_normal_(w, std=std, a=-2 * std, b=2 * std)


SAMPLERS = {
    "kaiming_normal": init.kaiming_normal_,
    "kaiming_uniform": init.kaiming_uniform_,
    "kaiming_normal(fan_out)": lambda w: init.kaiming_normal_(w, mode="fan_out"),
    "kaiming_uniform(a=√5)": lambda w: init.kaiming_uniform_(w, a=math.sqrt(5)),
    "lecun_normal": lambda w: init.kaiming_normal_(w, nonlinearity="linear"),
    "lecun_uniform": lambda w: init.kaiming_uniform_(w, nonlinearity="linear"),
    "kaiming_normal(gain=5/3)": lambda w: init.kaiming_normal_(w, nonlinearity="tanh"),
    "kaiming_normal(gain=0.5)": lambda w: w.normal_(0, 0.5 / math.sqrt(init_fans(w.shape)[0])),
    "xavier_normal": init.xavier_normal_,
    "xavier_uniform": init.xavier_uniform_,
    "xavier_normal(gain=√2)": lambda w: init.xavier_normal_(w, gain=math.sqrt(2)),
    "xavier_uniform(gain=5/3)": lambda w: init.xavier_uniform_(w, gain=5 / 3),
    "kaiming_normal(uncorrected)": keras_he_normal,
    "lecun_normal(truncated)": jax_lecun_normal,
    "truncated_normal(std=0.02)": lambda w: init.trunc_normal_(w, std=0.02, a=-0.04, b=0.04),
    "normal(0, 0.02)": lambda w: init.trunc_normal_(w, std=0.02),
    "normal(0, 0.01)": lambda w: init.normal_(w, std=0.01),
    "normal(1, 0.02)": lambda w: init.normal_(w, 1.0, 0.02),
    "uniform(±0.1)": lambda w: init.uniform_(w, -0.1, 0.1),
    "uniform(0, 1)": init.uniform_,
    "orthogonal": init.orthogonal_,
    "orthogonal(gain=√2)": lambda w: init.orthogonal_(w, gain=math.sqrt(2)),
    "zeros": init.zeros_,
    "ones": init.ones_,
    "constant(0.1)": lambda w: init.constant_(w, 0.1),
}


def draw(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    torch.manual_seed(seed)
    w = torch.empty(shape)
    with torch.no_grad():
        SAMPLERS[name](w)
    return w.numpy()


def named(w: np.ndarray, **options) -> str:
    return estimate((w,), w.shape, **options)[0].scheme


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_sampled_scheme_is_named(name, shape):
    # Each law is missed once in 150 000 draws by its variance, a few in 10 000 by its shape.
    wrong = {found for seed in range(3) if (found := named(draw(name, shape, seed))) != name}
    assert not wrong


@pytest.mark.parametrize(
    "name", ["kaiming_normal", "kaiming_uniform(a=√5)", "xavier_normal", "xavier_uniform", "lecun_normal"]
)
@pytest.mark.parametrize("shape", [(64, 16), (24, 48), (16, 96, 3, 3)], ids=str)
def test_misnaming_stays_rare(name, shape):
    misses = sum(named(draw(name, shape, seed)) != name for seed in range(50))
    # At 1000 elements a shape is misjudged in about one draw of 100; three of 50 has probability 0.01.
    assert misses <= 3


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", SAMPLERS)
def test_a_name_gives_the_moments_of_its_samples(name, shape):
    w = draw(name, shape, 11).astype(np.float64)
    law = scheme_distribution(name, shape)
    assert law.exact
    assert law.scheme == name
    assert law.mean == pytest.approx(w.mean(), abs=5 * law.std / math.sqrt(w.size) + 1e-8)
    kurtosis = law.kurtosis if law.variance else 1.0
    # The mean square of an orthogonal matrix is certain, its variance is short of it by the squared mean.
    slack = 5 * math.sqrt((kurtosis - 1) / w.size) if law.family is not Family.ORTHOGONAL else 1e-5
    assert law.mean_square == pytest.approx((w * w).mean(), rel=max(slack, 1e-6))
    if not math.isnan(law.minimum):
        assert law.minimum - 1e-7 <= w.min()
        assert w.max() <= law.maximum + 1e-7


@pytest.mark.parametrize(
    ("std", "name"),
    [
        (math.sqrt(0.774), "kaiming_normal"),
        (math.sqrt(1.1), "kaiming_normal"),
        (0.93, "xavier_normal"),
        (1.02, "normal(0, 0.02)"),
    ],
)
def test_a_near_miss_is_not_named(std, name):
    w = draw(name, (256, 512), 0) * std
    assert named(w).startswith("normal(0, 0.0")
    assert named(w) != name


def test_the_right_variance_of_another_shape_is_not_named():
    shape = (256, 384)
    assert named(draw("kaiming_normal", shape, 0)) == "kaiming_normal"
    signs = np.sign(draw("kaiming_normal", shape, 0)) * math.sqrt(2 / 384)
    assert named(signs) == ""
    laplace = np.random.default_rng(0).laplace(0, math.sqrt(1 / 384), shape)
    assert named(laplace) == ""
    assert named(laplace.astype(np.float32)) == ""


def test_a_leaky_slope_shows_in_a_large_weight():
    torch.manual_seed(0)
    w = init.kaiming_normal_(torch.empty(512, 640), a=0.2).numpy()
    assert named(w) == "kaiming_normal(a=0.2)"


def test_equal_fans_have_one_canonical_name():
    for name in ("xavier_normal", "lecun_normal"):
        assert named(draw(name, (128, 128), 0)) == "xavier_normal"
    assert named(draw("xavier_normal(gain=√2)", (128, 128), 0)) == "kaiming_normal"
    assert named(draw("kaiming_normal(fan_out)", (128, 128), 0)) == "kaiming_normal"
    assert named(draw("kaiming_normal(fan_out)", (128, 64, 3, 3), 0)) == "kaiming_normal(fan_out)"


def test_pytorch_default_of_layers():
    torch.manual_seed(0)
    for layer in (torch.nn.Linear(200, 128), torch.nn.Conv2d(32, 64, 3), torch.nn.Conv2d(64, 128, 3, groups=4)):
        weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
        assert named(weight) == "kaiming_uniform(a=√5)"
        assert named(bias, fans=init_fans(weight.shape)) == "uniform(±1/√fan_in)"
    layer = torch.nn.ConvTranspose2d(64, 96, 3)
    assert named(layer.weight.detach().numpy(), out_axis=1) == "kaiming_uniform(a=√5)"


def test_a_transposed_matrix_is_counted_as_it_was_drawn():
    w = draw("kaiming_normal", (96, 512), 3)
    assert named(w.T.copy(), out_axis=1) == "kaiming_normal"
    assert named(w.T.copy(), out_axis=0) == "kaiming_normal(fan_out)"


@pytest.mark.parametrize(
    "name", ["kaiming_normal", "kaiming_uniform(a=√5)", "xavier_uniform", "orthogonal", "normal(0, 0.02)"]
)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_rounding_to_another_type_keeps_the_name(name, dtype):
    w = torch.from_numpy(draw(name, (192, 256), 5)).to(getattr(torch, dtype))
    raw = w.numpy() if dtype == "float64" else w.view(torch.uint16).numpy()
    d, rows = estimate((raw,), raw.shape, dtype)
    assert d.scheme == name
    assert rows.distinct == 192


def test_padding_row_of_an_embedding():
    torch.manual_seed(0)
    w = torch.nn.Embedding(500, 64, padding_idx=3).weight.detach().numpy()
    d, rows = estimate((w,), w.shape)
    assert (d.scheme, d.family, d.zeros) == ("normal(0, 1)", Family.NORMAL, 64)
    assert d.variance == pytest.approx(w.astype(np.float64).var(), rel=1e-6)
    assert rows.distinct == 500


@pytest.mark.parametrize("shape", [(12, 12), (16, 8), (8, 16)])
def test_identity(shape):
    w = np.eye(*shape, dtype=np.float32)
    assert named(w) == "identity"
    assert named(w * 0.5) == "identity(gain=0.5)"
    assert named(w + np.eye(*shape, k=1, dtype=np.float32)) != "identity"
    assert named(np.roll(w, 1, axis=1)) != "identity"
    law = scheme_distribution("identity(gain=0.5)", shape)
    assert law.variance == pytest.approx((w * 0.5).var())
    assert law.kurtosis == pytest.approx(stats.kurtosis(w.reshape(-1), fisher=False))


@pytest.mark.parametrize(("shape", "groups"), [((8, 8, 3, 3), 1), ((8, 4, 3, 3), 2), ((6, 1, 5, 5), 6), ((4, 8, 3), 1)])
def test_dirac(shape, groups):
    w = init.dirac_(torch.empty(shape), groups=groups).numpy()
    assert named(w, groups=groups) == "dirac"


@pytest.mark.parametrize("shape", [(16, 300), (300, 16), (64, 64), (32, 4, 3, 3), (20, 1, 3, 3)])
def test_orthogonal_needs_orthogonal_vectors(shape):
    w = draw("orthogonal", shape, 0)
    assert estimate((w,), shape)[0].family is Family.ORTHOGONAL
    broken = w.reshape(shape[0], -1).copy()
    broken += 0.02 * np.random.default_rng(0).standard_normal(broken.shape).astype(np.float32)
    assert estimate((broken,), broken.shape)[0].family is not Family.ORTHOGONAL
    assert named(w * np.float32(0.3)) == "orthogonal(gain=0.3)"


def test_estimated_laws_show_the_digits_they_know():
    rng = np.random.default_rng(0)
    assert named(rng.normal(0, 0.03127, (600, 700))) == "normal(0, 0.0313)"
    assert named(rng.uniform(-0.07, 0.07, (60, 70))) == "uniform(±0.07)"
    assert named(rng.uniform(0.5, 1.5, 4000)) == "uniform(0.5, 1.5)"


def test_too_little_to_name():
    rng = np.random.default_rng(0)
    assert named(rng.normal(0, 1, (7, 9))) == ""
    assert name_scheme(Distribution(Family.UNKNOWN, 0, 0.0, 0.0), (0,)) == ""
    assert name_scheme(Distribution(Family.NORMAL, 9000, 0.0, 1.0, 3.0, -4, 4, nonfinite=1), (90, 100)) == ""


@pytest.mark.parametrize(
    "name", [*SAMPLERS, "pytorch_default", "trunc_normal(std=1)", "he_normal", "glorot_uniform", "eye", "dirac"]
)
def test_every_name_parses(name):
    scheme = parse_scheme(name)
    law = scheme_distribution(name, (32, 16))
    assert law.family is scheme.family
    assert law.size == 512


def test_spellings():
    assert parse_scheme("pytorch_default") == parse_scheme("kaiming_uniform(a=√5)")
    assert parse_scheme("he_normal") == parse_scheme(" Kaiming_Normal( mode=fan_in ) ")
    assert parse_scheme("kaiming_normal_") == parse_scheme("kaiming_normal(gain=√2)")
    assert (
        parse_scheme("normal(0.02)")
        == parse_scheme("normal(mean=0, std=0.02)")
        == parse_scheme("trunc_normal(std=0.02)")
    )
    assert parse_scheme("uniform(0.1)") == parse_scheme("uniform(-0.1, 0.1)") == parse_scheme("uniform(±1/10)")


def test_truncation_agrees_with_scipy():
    for name, std, cut in (
        ("truncated_normal(std=0.3)", 0.3, 2.0),
        ("trunc_normal", 1.0, 2.0),
        ("trunc_normal(std=0.8)", 0.8, 2.5),
    ):
        law = scheme_distribution(name, (3, 4))
        scipy_law = stats.truncnorm(-cut, cut, scale=std)
        assert law.variance == pytest.approx(scipy_law.var())
        assert law.kurtosis == pytest.approx(3.0 + float(scipy_law.stats("k")))
        assert law.maximum == pytest.approx(cut * std)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("kaming_normal", "kaiming_normal"),
        ("xavier", "xavier_normal"),
        ("", "kaiming_normal"),
        ("normal(", "normal"),
        ("normal(0, -1)", "normal(mean, std)"),
        ("normal(1, 2, 3)", "normal(mean, std)"),
        ("normal(0, inf)", "normal(mean, std)"),
        ("uniform(1, 0)", "uniform(low, high)"),
        ("constant", "constant(value)"),
        ("zeros(3)", "all zero"),
        ("xavier_normal(fan_out)", "gain="),
        ("kaiming_uniform(truncated)", "fan_out"),
        ("orthogonal(gain=0)", "gain="),
        ("normal(0, 1/0)", "normal(mean, std)"),
        ("pytorch_default(a=1)", "Linear"),
    ],
)
def test_an_unknown_name_tells_what_to_use(name, hint):
    with pytest.raises(UsageError) as caught:
        parse_scheme(name)
    assert hint in caught.value.hint
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["kaiming_normal", "xavier_uniform", "orthogonal", "identity"])
def test_a_vector_has_no_fan(name):
    with pytest.raises(UsageError):
        scheme_distribution(name, (128,))


def test_a_vector_is_given_the_fan_of_its_layer():
    assert scheme_distribution("uniform(±1/√fan_in)", (128,), 64).maximum == pytest.approx(1 / 8)


def test_every_scheme_is_described_in_one_line():
    assert all(text and "\n" not in text for text in SCHEMES.values())


@pytest.mark.parametrize(
    ("name", "mode", "number"),
    [
        ("kaiming_normal", "fan_in", 16384.0),
        ("kaiming_uniform(a=√5)", "fan_in", 16384.0),
        ("kaiming_normal(fan_out)", "fan_out", 2048.0),
        ("xavier_uniform", "average", 9216.0),
        ("lecun_normal(truncated)", "fan_in", 16384.0),
        ("normal(0, 0.02)", "", 0.0),
        ("zeros", "", 0.0),
        ("orthogonal", "", 0.0),
    ],
)
def test_the_fan_that_a_law_was_drawn_by_shows_in_its_variance(name: str, mode: str, number: float) -> None:
    counted = counted_fan(scheme_distribution(name, (8, 64, 256)))
    assert counted == (mode, pytest.approx(number))
