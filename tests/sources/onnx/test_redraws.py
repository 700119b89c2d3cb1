"""ONNX files run by onnxruntime: as stored, and with weights drawn anew."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest

from initcheck import Distribution, Family, ModelLoadError, Settings
from initcheck.estimate import estimate
from initcheck.measure import compare
from initcheck.measurement import Plan
from initcheck.sources.onnx import load
from initcheck.sources.onnx.draws import family_to_draw, redraw
from initcheck.sources.onnx.redraws import require_runtime, run_redraws

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from initcheck.measurement import MeasuredLayer, Measurement

MLP = """
g (float[batch, 128] x) => (float[batch, 16] y) {
    a = MatMul(x, first__weight)
    b = Add(a, first__bias)
    c = Relu(b)
    y = MatMul(c, second__weight)
}"""


def weights(std: float = 0.1) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "first.weight": rng.normal(0.0, std, (128, 64)),
        "first.bias": rng.uniform(-1.0, 1.0, 64),
        "second.weight": rng.normal(0.0, std, (64, 16)),
    }


def run(path: Path, *, repeats: int = 8, **settings: Any) -> Measurement:
    chosen = Settings(**settings)
    graph = load(path, shapes=chosen.shapes, dims=chosen.dims)
    steps = partial(run_redraws, path, graph, plan=Plan(repeats), settings=chosen, step=lambda done, total: None)
    return compare("model", graph, steps, 0)


def layers(measurement: Measurement) -> dict[str, MeasuredLayer]:
    return {layer.path: layer for layer in measurement.layers}


def test_stored_weights_give_what_numpy_computes(write: Callable[..., Path]) -> None:
    values = weights()
    # With one number in every input the value is known without the draw.
    body = MLP.replace(
        "a = MatMul(x, first__weight)", "z = Mul(x, zero)\nu = Add(z, one)\na = MatMul(u, first__weight)"
    )
    path = write(body, {**values, "zero": np.zeros(1), "one": np.ones(1)})
    found = layers(run(path, repeats=2))
    hidden = np.ones(128) @ values["first.weight"] + values["first.bias"]
    assert found["first"].length.stored == pytest.approx(math.log10(np.square(hidden).mean()), abs=1e-5)
    output = np.maximum(hidden, 0.0) @ values["second.weight"]
    assert found["second"].length.stored == pytest.approx(math.log10(np.square(output).mean()), abs=1e-5)


def test_weights_are_drawn_anew_and_agree_with_the_prediction(write: Callable[..., Path]) -> None:
    measurement = run(write(MLP, weights()), repeats=16)
    assert measurement.drawn == ("first.weight", "first.bias", "second.weight")
    assert measurement.kept == ()
    assert (measurement.initialisations, measurement.samples) == (16, 32)
    assert measurement.inputs == "x float32[32, 128] (values drawn)"
    found = layers(measurement)
    assert found["first"].length.measured == pytest.approx(math.log10(1.28 + 1.0 / 3.0), abs=0.03)
    assert found["first"].signal.measured == pytest.approx(math.log10(1.28), abs=0.02)
    assert found["first"].length.standard_error > 0.0
    assert found["first"].gradient.measured is None
    assert measurement.disagreeing == 0
    assert any("gradients of an ONNX file are not measured" in note for note in measurement.notes)


def test_constants_and_unknown_distributions_are_kept(write: Callable[..., Path]) -> None:
    values = weights()
    values["first.bias"] = np.zeros(64)
    # Two values only: no law that anybody draws from.
    values["second.weight"] = np.where(values["second.weight"] > 0.0, 0.1, -0.1)
    measurement = run(write(MLP, values))
    assert (measurement.drawn, measurement.kept) == (("first.weight",), ("first.bias", "second.weight"))
    assert any(note.startswith("1 of 3 parameters drawn anew") for note in measurement.notes)
    values["first.weight"] = np.ones((128, 64))
    measurement = run(write(MLP, values))
    assert (measurement.initialisations, measurement.drawn) == (1, ())
    assert any("measured once, as it is" in note for note in measurement.notes)
    assert measurement.layers[0].length.measured == measurement.layers[0].length.stored


def test_external_data_and_other_sizes(write: Callable[..., Path]) -> None:
    path = write(MLP, weights())
    inside = run(path, repeats=2, dims={"batch": 4})
    assert inside.samples == 4
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (path.parent / "weights.bin").stat().st_size > 1000
    assert run(path, repeats=2, dims={"batch": 4}).layers == inside.layers


def test_ids_are_uniform_and_the_embedding_is_perturbed(write: Callable[..., Path]) -> None:
    body = """
    g (int64[batch, seq] input_ids, int64[batch, seq] attention_mask) => (float[batch, seq, 32] y) {
        e = Gather(words__weight, input_ids)
        m = Cast<to = 1>(attention_mask)
        axes = Constant<value_ints = [2]>()
        u = Unsqueeze(m, axes)
        f = Mul(e, u)
        y = MatMul(f, head__weight)
    }"""
    rng = np.random.default_rng(0)
    values = {"words.weight": rng.normal(0.0, 0.02, (500, 64)), "head.weight": rng.normal(0.0, 0.25, (64, 32))}
    measurement = run(write(body, values))
    found = layers(measurement)
    assert found["words"].signal.measured == pytest.approx(0.0, abs=1e-6)
    assert found["words"].length.measured == pytest.approx(2.0 * math.log10(0.02), abs=0.02)
    assert found["head"].signal.measured == pytest.approx(math.log10(4.0), abs=0.03)
    assert measurement.disagreeing == 0


def test_training_mode_is_run_in_training_mode(write: Callable[..., Path]) -> None:
    body = """
    g (float[batch, 128] x) => (float[batch, 64] y) {
        a = MatMul(x, first__weight)
        b, mean, var = BatchNormalization<training_mode = 1>(a, scale, shift, running_mean, running_var)
        ratio = Constant<value_float = 0.5>()
        yes = Constant<value = bool {1}>()
        y = Dropout(b, ratio, yes)
    }"""
    norm = {"scale": np.ones(64), "shift": np.zeros(64), "running_mean": np.zeros(64), "running_var": np.ones(64)}
    measurement = run(write(body, {"first.weight": weights()["first.weight"], **norm}))
    norm_row = next(layer for layer in measurement.layers if layer.kind == "batch_norm")
    assert norm_row.length.measured == pytest.approx(0.0, abs=0.01)
    assert norm_row.signal.measured == pytest.approx(norm_row.signal.predicted, abs=0.05)
    few = run(write(body, {"first.weight": weights()["first.weight"], **norm}), dims={"batch": 4})
    assert any("batch normalisation saw 4 samples" in note for note in few.notes)


def test_without_kernels_in_double_precision_there_is_no_signal(write: Callable[..., Path]) -> None:
    body = """
    g (float[8, 3, 16, 16] x) => (float[8, 8, 14, 14] y) {
        y = Conv(x, conv__weight)
    }"""
    measurement = run(write(body, {"conv.weight": np.random.default_rng(0).normal(0.0, 0.2, (8, 3, 3, 3))}))
    assert measurement.layers[0].length.measured == pytest.approx(math.log10(27 * 0.04), abs=0.08)
    assert measurement.layers[0].signal.measured is None
    assert any("onnxruntime does not run it in double precision (Could not find" in note for note in measurement.notes)


def test_what_cannot_be_run_is_one_line(write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelLoadError, match="run on the processor, not on cuda:0"):
        require_runtime("cuda:0")
    strange = write(MLP.replace("Relu(b)", "acme.Relu(b)"), weights(), opset='"" : 20, "acme" : 1')
    with pytest.raises(ModelLoadError, match="onnxruntime cannot run it: ") as caught:
        run(strange)
    assert "\n" not in str(caught.value)
    path = write(MLP, weights())
    with pytest.raises(ModelLoadError, match=r"its tensors take 0\.00 GB, more than may be loaded"):
        run(path, max_memory=1000)
    monkeypatch.setattr("initcheck.sources.onnx.redraws.find_spec", lambda _: None)
    with pytest.raises(ModelLoadError, match="onnxruntime, which is not installed; install it with pip"):
        require_runtime("cpu")


def laws() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    cut = rng.normal(size=40000)
    return {
        "normal": rng.normal(0.0, 0.3, (100, 100)),
        "uniform": rng.uniform(-0.2, 0.2, (100, 100)),
        "truncated": 0.5 * cut[np.abs(cut) < 2.0][:10000].reshape(100, 100),
        "orthogonal": 2.0 * np.linalg.qr(rng.normal(size=(100, 60)))[0],
        "padded": np.concatenate([np.zeros((1, 100)), rng.normal(0.0, 0.3, (99, 100))]),
        "short": rng.uniform(-0.2, 0.2, 30),
    }


@pytest.mark.parametrize("name", laws())
def test_a_redraw_has_the_law_of_the_stored_weight(name: str) -> None:
    stored = laws()[name].astype(np.float32)
    law, _ = estimate((stored.copy(),), stored.shape)
    drawn = redraw(stored, law, 0, "w")
    assert (drawn.dtype, drawn.shape) == (stored.dtype, stored.shape)
    assert not np.array_equal(drawn, stored)
    again, other = redraw(stored, law, 0, "w"), redraw(stored, law, 1, "w")
    assert np.array_equal(drawn, again)
    assert not np.array_equal(drawn, other)
    found, _ = estimate((drawn.copy(),), drawn.shape)
    assert found.family is law.family
    # Four standard errors of a difference of two estimates; orthogonal weights have the very same mean square.
    error = math.sqrt(2.0 * ((law.kurtosis if math.isfinite(law.kurtosis) else 3.0) - 1.0) / law.size)
    allowed = 1e-5 if name == "orthogonal" else 4.0 * error
    assert found.mean_square == pytest.approx(law.mean_square, rel=allowed)
    assert found.zeros == law.zeros


def test_a_constant_and_what_is_not_finite_are_left() -> None:
    assert family_to_draw(Distribution(Family.CONSTANT, 1000, 1.0, 0.0)) is None
    assert family_to_draw(Distribution(Family.UNKNOWN, 1000, 0.0, 1.0, 2.0)) is None
    assert family_to_draw(Distribution(Family.NORMAL, 1000, 0.0, 1.0, 3.0, nonfinite=1)) is None
    assert family_to_draw(Distribution(Family.UNKNOWN, 100, 0.0, 1.0, 1.9)) is Family.UNIFORM
