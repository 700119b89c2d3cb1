from __future__ import annotations

import numpy as np
import pytest
from sampled_weights import sampled

from initcheck.graph import Op

AXIS = "a = Constant<value = int64[1] {-1}>()"
EPS = "e = Constant<value_float = 0.001>()"
TWO = "two = Constant<value_float = 2.0>()"

CENTRED = f"{AXIS} {EPS} {TWO} m = ReduceMean(x, a) c = Sub(x, m)"
LAYER = {
    "pow-sqrt-div": "q = Pow(c, two) v = ReduceMean(q, a) p = Add(v, e) s = Sqrt(p) n = Div(c, s)",
    "mul-reciprocal": "q = Mul(c, c) v = ReduceMean(q, a) p = Add(e, v) s = Sqrt(p) r = Reciprocal(s) n = Mul(r, c)",
    "own difference": "d = Sub(x, m) q = Mul(d, d) v = ReduceMean(q, a) p = Add(v, e) s = Sqrt(p) n = Div(c, s)",
    "casts": "k = Cast<to=1>(c) "
    "q = Pow(k, two) v = ReduceMean(q, a) p = Add(v, e) s = Sqrt(p) o = Div(c, s) n = Cast<to=1>(o)",
}


@pytest.mark.parametrize("form", LAYER)
@pytest.mark.parametrize("affine", [True, False])
def test_layer_norm(lower, form, affine):
    tail = "g = Mul(n, norm__weight) y = Add(g, norm__bias)" if affine else "y = Identity(n)"
    graph = lower(
        f"f (float[2,5,8] x) => (y) {{ {CENTRED} {LAYER[form]} {tail} }}",
        {"norm.weight": np.ones(8), "norm.bias": np.zeros(8)},
    )
    node = graph.nodes[0]
    assert node.op is Op.NORMALIZE
    assert node.attributes == {"kind": "layer", "axes": (2,), "epsilon": pytest.approx(1e-3)}
    assert node.kind == "layer_norm"
    assert node.inputs == (("x", "norm.weight", "norm.bias") if affine else ("x",))
    assert {other.op for other in graph.nodes[1:]} <= {Op.IDENTITY}


RMS = {
    "reciprocal": "q = Pow(x, two) v = ReduceMean(q, a) p = Add(v, e) s = Sqrt(p) r = Reciprocal(s) n = Mul(x, r)",
    "division": "q = Mul(x, x) v = ReduceMean(q, a) p = Add(v, e) s = Sqrt(p) n = Div(x, s)",
    "one over": "o = Constant<value_float = 1.0>() q = Pow(x, two) v = ReduceMean(q, a) p = Add(v, e) s = Sqrt(p) "
    "r = Div(o, s) n = Mul(x, r)",
    "power": "h = Constant<value_float = -0.5>() "
    "q = Pow(x, two) v = ReduceMean(q, a) p = Add(v, e) r = Pow(p, h) n = Mul(x, r)",
}


@pytest.mark.parametrize("form", RMS)
def test_rms_norm(lower, only, form):
    text = f"f (float[2,5,8] x) => (y) {{ {AXIS} {EPS} {TWO} {RMS[form]} y = Mul(norm__weight, n) }}"
    node = only(lower(text, {"norm.weight": np.ones(8)}))
    assert (node.op, node.kind) == (Op.NORMALIZE, "rms_norm")
    assert node.inputs == ("x", "norm.weight", "")
    assert node.attributes["kind"] == "rms"


def test_a_norm_of_another_value_is_no_norm(lower):
    text = f"f (float[2,5,8] x, float[2,5,8] z) => (y) {{ {AXIS} {EPS} {TWO} q = Pow(z, two) v = ReduceMean(q, a) "
    text += "p = Add(v, e) s = Sqrt(p) y = Div(x, s) }"
    assert all(node.op is not Op.NORMALIZE for node in lower(text).nodes)


@pytest.mark.parametrize(("axes", "kind"), [("1 {1}", "layer"), ("2 {2,3}", "instance"), ("3 {0,2,3}", "batch")])
def test_the_axes_tell_the_kind(lower, only, axes, kind):
    text = f"f (float[4,8,3,3] x) => (n) {{ a = Constant<value = int64[{axes[0]}] {axes[2:]}>() {EPS} {TWO} "
    text += f"m = ReduceMean(x, a) c = Sub(x, m) {LAYER['pow-sqrt-div']} }}"
    node = only(lower(text))
    assert (node.op, node.attributes["kind"]) == (Op.NORMALIZE, kind)
    if kind == "batch":
        assert node.attributes["training"] is True


GROUP = """f (float[2,8,4,4] x) => (y) {
    g = Constant<value = int64[3] {0,2,-1}>() i = Reshape(x, g)
    n = InstanceNormalization(i, one, zero) s = Shape(x) o = Reshape(n, s) m = Mul(o, scale) y = Add(m, shift)
}"""


def test_group_norm(lower, only):
    weights = {"one": np.ones(2), "zero": np.zeros(2), "scale": np.ones((8, 1, 1)), "shift": np.zeros((8, 1, 1))}
    node = only(lower(GROUP, weights))
    assert (node.kind, node.inputs) == ("group_norm", ("x", "scale", "shift"))
    assert node.attributes == {"kind": "group", "groups": 2, "epsilon": pytest.approx(1e-5)}


def test_an_instance_norm_with_a_scale_between_reshapes_is_no_group_norm(lower):
    weights = {"one": np.full(2, 3.0), "zero": np.zeros(2), "scale": np.ones((8, 1, 1)), "shift": np.zeros((8, 1, 1))}
    assert [node.op for node in lower(GROUP, weights).nodes][:3] == [Op.RESHAPE, Op.NORMALIZE, Op.RESHAPE]


ACTIVATIONS = {
    "gelu": "r = Constant<value_float = 1.41421354>() "
    "h = Constant<value_float = 0.5>() o = Constant<value_float = 1.0>() "
    "d = Div(x, r) e = Erf(d) p = Add(e, o) m = Mul(x, p) y = Mul(m, h)",
    "gelu_tanh": "k = Constant<value_float = 0.044715>() c = Constant<value_float = 0.79788458>() "
    "t = Constant<value_float = 3.0>() h = Constant<value_float = 0.5>() o = Constant<value_float = 1.0>() "
    "q = Pow(x, t) a = Mul(k, q) b = Add(x, a) "
    "d = Mul(b, c) e = Tanh(d) p = Add(e, o) m = Mul(x, h) y = Mul(m, p)",
    "silu": "s = Sigmoid(x) y = Mul(s, x)",
    "quick_gelu": "k = Constant<value_float = 1.702>() m = Mul(x, k) s = Sigmoid(m) y = Mul(x, s)",
    "hard_swish": "t = Constant<value_float = 3.0>() z = Constant<value_float = 0.0>() "
    "s = Constant<value_float = 6.0>() a = Add(x, t) c = Clip(a, z, s) m = Mul(x, c) y = Div(m, s)",
    "mish": "s = Softplus(x) t = Tanh(s) y = Mul(x, t)",
    "tanh_shrink": "t = Tanh(x) y = Sub(x, t)",
    "softsign": "o = Constant<value_float = 1.0>() b = Abs(x) d = Add(b, o) y = Div(x, d)",
}


@pytest.mark.parametrize("function", ACTIVATIONS)
def test_activation(lower, function):
    graph = lower(f"f (float[2,8] w) => (y) {{ x = Relu(w) {ACTIVATIONS[function]} }}")
    assert [node.op for node in graph.nodes] == [Op.ELEMENTWISE, Op.ELEMENTWISE]
    assert graph.nodes[1].attributes == {"function": function, "arguments": {}}
    assert graph.nodes[1].kind == function
    assert graph.nodes[1].inputs == ("x",)


def test_an_expression_without_a_name_stays_as_it_is(lower):
    text = "f (float[2,8] x) => (y) { k = Constant<value_float = 1.1>() m = Mul(x, k) s = Sigmoid(m) y = Mul(x, s) }"
    assert [node.op for node in lower(text).nodes] == [Op.MUL, Op.ELEMENTWISE, Op.MUL]


def test_a_gate_of_another_value_is_no_activation(lower):
    text = "f (float[2,8] x, float[2,8] z) => (y) { s = Sigmoid(z) y = Mul(x, s) }"
    assert [node.op for node in lower(text).nodes] == [Op.ELEMENTWISE, Op.MUL]


def test_what_is_read_outside_a_pattern_is_kept(lower):
    graph = lower("f (float[2,8] x) => (y, s) { s = Sigmoid(x) y = Mul(s, x) }")
    assert [node.attributes["function"] for node in graph.nodes] == ["sigmoid", "silu"]


def test_attention_with_a_mask_is_left_to_the_laws(lower):
    mask = np.triu(np.full((5, 5), -np.inf, np.float32), 1)
    text = """f (float[2,5,8] q, float[2,8,5] k, float[2,5,8] v) => (y) {
        s = MatMul(q, k) m = Add(s, mask) p = Softmax(m) y = MatMul(p, v)
    }"""
    graph = lower(text, {"mask": mask})
    assert [node.op for node in graph.nodes] == [Op.MATMUL, Op.ADD, Op.SOFTMAX, Op.MATMUL]
    assert np.isneginf(graph.constants["mask"].array[0, 1])


DROPOUT = {
    "less": "r = RandomUniformLike(x) b = Less(r, k) c = Cast<to=1>(b) g = Div(c, k) y = Mul(x, g)",
    "like": "r = RandomUniformLike(x) b = Less(r, k) c = CastLike(b, k) g = Div(c, k) y = Mul(x, g)",
    "floor": "r = RandomUniform<shape=[2,1]>() a = Add(r, k) f = Floor(a) d = Div(x, k) y = Mul(d, f)",
}


@pytest.mark.parametrize("form", DROPOUT)
def test_dropout_in_random_numbers(lower, form):
    graph = lower(f"f (float[2,8] w) => (y) {{ k = Constant<value_float = 0.8>() x = Relu(w) {DROPOUT[form]} }}")
    assert [node.op for node in graph.nodes] == [Op.ELEMENTWISE, Op.DROPOUT]
    assert graph.nodes[1].attributes == {"rate": pytest.approx(0.2), "training": True}
    assert graph.nodes[1].inputs == ("x",)


def test_a_random_gate_of_another_scale_is_no_dropout(lower):
    text = "k = Constant<value_float = 0.8>() r = RandomUniformLike(x) b = Less(r, k) c = Cast<to=1>(b) y = Mul(x, c)"
    assert all(node.op is not Op.DROPOUT for node in lower(f"f (float[2,8] x) => (y) {{ {text} }}").nodes)


def test_a_chain_of_layers_keeps_one_node_per_layer(lower):
    lines = [
        f"p{k} = MatMul(a{k}, w{k}) s{k} = Add(p{k}, b{k}) g{k} = Sigmoid(s{k}) a{k + 1} = Mul(s{k}, g{k})"
        for k in range(4)
    ]
    weights = {f"w{k}": sampled(8, 8, seed=k) for k in range(4)} | {f"b{k}": sampled(8, seed=9 + k) for k in range(4)}
    graph = lower(f"f (float[2,8] a0) => (a4) {{ {' '.join(lines)} }}", weights)
    assert [node.kind for node in graph.nodes] == ["linear", "silu"] * 4
