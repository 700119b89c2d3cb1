from __future__ import annotations

import numpy as np
import pytest
from onnx import parser
from onnx.reference import ReferenceEvaluator

from initcheck.graph import Op
from initcheck.signal.functions import FUNCTIONS

GRID = np.linspace(0.1, 3.0, 30)
SIGNED = np.linspace(-3.05, 3.0, 41)

NODES = [
    "Abs(x)",
    "Asinh(x)",
    "Atan(x)",
    "Ceil(x)",
    "Celu<alpha=0.7>(x)",
    "Cos(x)",
    "Cosh(x)",
    "Elu<alpha=0.8>(x)",
    "Erf(x)",
    "Exp(x)",
    "Floor(x)",
    "Gelu(x)",
    'Gelu<approximate="tanh">(x)',
    "HardSigmoid(x)",
    "HardSigmoid<alpha=0.3, beta=0.4>(x)",
    "HardSwish(x)",
    "LeakyRelu<alpha=0.2>(x)",
    "LeakyRelu(x)",
    "Mish(x)",
    "Neg(x)",
    "Reciprocal(x)",
    "Relu(x)",
    "Selu(x)",
    "Shrink<bias=0.5, lambd=0.5>(x)",
    "Shrink<bias=0.0, lambd=1.0>(x)",
    "Sigmoid(x)",
    "Sign(x)",
    "Sin(x)",
    "Sinh(x)",
    "Softplus(x)",
    "Softsign(x)",
    "Tan(x)",
    "Tanh(x)",
    "ThresholdedRelu<alpha=0.6>(x)",
]
POSITIVE = ["Log(x)", "Sqrt(x)"]


@pytest.mark.parametrize("form", NODES + POSITIVE)
def test_a_function_has_the_values_of_the_operator(lower, only, form):
    text = f"g (float[64] x) => (float[64] y) {{ y = {form} }}"
    node = only(lower(text))
    assert node.op is Op.ELEMENTWISE
    x = GRID if form in POSITIVE else SIGNED
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 22]>\n{text.replace("64", str(len(x)))}')
    (expected,) = ReferenceEvaluator(model).run(None, {"x": x.astype(np.float32)})
    computed = FUNCTIONS[node.attributes["function"]].value(x, **node.attributes["arguments"])
    assert computed == pytest.approx(expected.astype(np.float64), rel=1e-4, abs=1e-5)
    assert node.kind == node.attributes["function"]


@pytest.mark.parametrize(
    ("low", "high", "function"),
    [("0.0", "6.0", "relu6"), ("0.0", None, "relu"), ("-1.0", "2.0", "clip"), (None, "3.0", "clip")],
)
def test_clip(lower, only, low, high, function):
    constants = [f"{name} = Constant<value_float = {value}>()" for name, value in (("a", low), ("b", high)) if value]
    names = ["x", "a" if low else "", *(["b"] if high else [])]
    text = f"g (float[8] x) => (float[8] y) {{ {' '.join(constants)} y = Clip({', '.join(names)}) }}"
    node = only(lower(text))
    assert node.attributes["function"] == function
    if function == "clip":
        expected = {"minimum": float(low or -np.inf), "maximum": float(high or np.inf)}
        assert node.attributes["arguments"] == expected


def test_clip_of_an_old_opset_takes_attributes(lower, only):
    node = only(lower("g (float[8] x) => (float[8] y) { y = Clip<min=0.0, max=6.0>(x) }", opset='"" : 6'))
    assert node.attributes["function"] == "relu6"


def test_prelu_with_one_slope_is_a_leaky_relu(lower, only):
    node = only(lower("g (float[2,8] x) => (y) { y = PRelu(x, a) }", {"a": np.full(8, 0.25)}))
    assert (node.attributes["function"], node.attributes["arguments"]) == ("leaky_relu", {"alpha": 0.25})


def test_prelu_with_many_slopes_is_opaque(lower, only):
    node = only(lower("g (float[2,8] x) => (y) { y = PRelu(x, a) }", {"a": np.linspace(0.0, 1.0, 8)}))
    assert node.op is Op.OPAQUE


def test_power(lower, only):
    node = only(lower("g (float[2,8] x) => (y) { e = Constant<value_float = 3.0>() y = Pow(x, e) }"))
    assert (node.attributes["function"], node.attributes["arguments"]) == ("power", {"exponent": 3.0})


def test_a_power_of_two_activations_is_opaque(lower, only):
    assert only(lower("g (float[8] x, float[8] z) => (y) { y = Pow(x, z) }")).op is Op.OPAQUE


@pytest.mark.parametrize(("operator", "function"), [("Gelu", "gelu"), ("FastGelu", "gelu_tanh")])
def test_contributed_activations(lower, only, operator, function):
    text = f"g (float[8] x) => (float[8] y) {{ y = com.microsoft.{operator}(x) }}"
    node = only(lower(text, opset='"" : 20, "com.microsoft" : 1'))
    assert node.attributes["function"] == function
    assert node.op is Op.ELEMENTWISE


def test_an_unknown_operator_is_opaque_and_keeps_its_inputs(lower, only):
    graph = lower("g (float[2,8] x) => (float[2,8] y) { y = my.domain.Warp(x, w) }", {"w": np.ones((8, 8))})
    node = only(graph)
    assert node.op is Op.OPAQUE
    assert node.attributes["type"] == "my.domain::Warp"
    assert node.inputs == ("x", "w")
    assert graph.values["y"].shape == (2, 8)


@pytest.mark.parametrize(
    ("expression", "function"),
    [("Greater(x, c)", "above"), ("Less(x, c)", "below"), ("Greater(c, x)", "below"), ("LessOrEqual(c, x)", "above")],
)
def test_a_comparison_with_a_number_is_a_step(lower, only, expression, function):
    text = f"g (float[2,5] x) => (bool[2,5] y) {{ c = Constant<value_float = 1.5>() y = {expression} }}"
    node = only(lower(text))
    assert (node.op, node.attributes["function"]) == (Op.ELEMENTWISE, function)
    assert node.attributes["arguments"] == {"threshold": 1.5}
