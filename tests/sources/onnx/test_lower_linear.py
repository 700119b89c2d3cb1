from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from onnx.reference import ReferenceEvaluator
from sampled_weights import sampled

from initcheck.graph import Op

GEMM = "g (float[4,6] x) => (float[4,3] y) { y = Gemm<alpha=2.0, beta=0.5, transB=1>(x, fc__weight, fc__bias) }"


def test_gemm_keeps_the_stored_weight_and_says_where_its_units_lie(lower, only):
    graph = lower(GEMM, {"fc.weight": sampled(3, 6), "fc.bias": sampled(3)})
    node = only(graph)
    assert node.op is Op.LINEAR
    assert node.inputs == ("x", "fc.weight", "fc.bias")
    assert node.kind == "linear"
    assert node.path == "fc"
    expected = {"axis": 1, "fan_in": 6, "fan_out": 3, "out_axis": 0, "scale": 2.0, "bias_scale": 0.5}
    assert node.attributes == expected
    assert graph.values["y"].shape == (4, 3)
    assert graph.parameters["fc.weight"].shape == (3, 6)
    assert graph.parameter_count == 21


def test_gemm_with_the_weight_on_the_left_contracts_the_first_axis(lower, only):
    node = only(lower("g (float[6,4] x) => (float[3,4] y) { y = Gemm(w, x) }", {"w": sampled(3, 6)}))
    assert (node.attributes["axis"], node.attributes["fan_in"], node.attributes["fan_out"]) == (0, 6, 3)
    assert node.attributes["out_axis"] == 0


def test_gemm_whose_addend_varies_along_two_axes_is_a_product_and_an_addition(lower):
    graph = lower(
        "g (float[4,6] x) => (float[4,3] y) { y = Gemm<beta=3.0>(x, w, c) }", {"w": sampled(6, 3), "c": sampled(4, 3)}
    )
    assert [node.op for node in graph.nodes] == [Op.LINEAR, Op.MUL, Op.ADD]


def test_gemm_of_activations_is_a_matmul(lower):
    graph = lower("g (float[6,4] x, float[6,3] z) => (float[4,3] y) { y = Gemm<transA=1>(x, z) }")
    assert [node.op for node in graph.nodes] == [Op.TRANSPOSE, Op.MATMUL]


def test_an_explicit_bias_of_zeros_that_the_file_computes_is_no_bias(lower, only):
    text = """g (float[4,6] x) => (float[4,3] y) {
        zero = Constant<value = float {0.0}>()
        y = Gemm(x, w, zero)
    }"""
    assert only(lower(text, {"w": sampled(6, 3)})).inputs == ("x", "w")


@pytest.mark.parametrize("order", ["p, b", "b, p"])
def test_matmul_and_the_bias_behind_it_are_one_layer(lower, only, order):
    text = f"g (float[2,5,6] x) => (float[2,5,3] y) {{ p = MatMul(x, w) y = Add({order}) }}"
    node = only(lower(text, {"w": sampled(6, 3), "b": sampled(3)}))
    assert node.inputs == ("x", "w", "b")
    assert node.outputs == ("y",)
    assert (node.attributes["axis"], node.attributes["out_axis"]) == (2, 1)


def test_a_bias_is_not_merged_when_the_product_is_used_elsewhere(lower):
    text = "g (float[2,6] x) => (float[2,3] y, float[2,3] z) { p = MatMul(x, w) y = Add(p, b) z = Relu(p) }"
    graph = lower(text, {"w": sampled(6, 3), "b": sampled(3)})
    assert [node.op for node in graph.nodes] == [Op.LINEAR, Op.ADD, Op.ELEMENTWISE]


def test_a_position_embedding_is_no_bias(lower):
    text = "g (float[2,5,6] x) => (float[2,5,3] y) { p = MatMul(x, w) y = Add(p, pos) }"
    graph = lower(text, {"w": sampled(6, 3), "pos": sampled(1, 5, 3)})
    assert [node.op for node in graph.nodes] == [Op.LINEAR, Op.ADD]


def test_stacked_experts_are_counted_per_expert(lower, only):
    node = only(lower("g (float[4,7,6] x) => (float[4,7,3] y) { y = MatMul(x, w) }", {"w": sampled(4, 6, 3)}))
    assert (node.attributes["fan_in"], node.attributes["fan_out"], node.attributes["out_axis"]) == (6, 3, 2)


def test_a_weight_on_the_left_mixes_positions(lower, only):
    node = only(lower("g (float[2,6,5] x) => (float[2,3,5] y) { y = MatMul(w, x) }", {"w": sampled(3, 6)}))
    assert (node.attributes["axis"], node.attributes["fan_in"], node.attributes["out_axis"]) == (1, 6, 0)


LOOKTHROUGH = {
    "Transpose": "v = Transpose<perm=[1,0]>(w)",
    "Identity": "u = Identity(w) v = Transpose(u)",
    "Cast": "u = Cast<to=1>(w) v = Transpose(u)",
    "Unsqueeze": """a = Constant<value = int64[1] {0}>()
        u = Unsqueeze(w, a) t = Transpose<perm=[0,2,1]>(u) v = Squeeze(t, a)""",
    "Reshape": "s = Constant<value = int64[3] {3,2,3}>() u = Reshape(w, s) r = Constant<value = int64[2] {3,6}>() "
    "t = Reshape(u, r) v = Transpose(t)",
}


@pytest.mark.parametrize("form", LOOKTHROUGH)
def test_a_weight_is_seen_through(lower, only, form):
    text = f"g (float[2,6] x) => (float[2,3] y) {{ {LOOKTHROUGH[form]} y = MatMul(x, v) }}"
    node = only(lower(text, {"w": sampled(3, 6)}))
    assert node.inputs == ("x", "w")
    assert node.attributes["fan_in"] == 6
    assert node.attributes["out_axis"] == 0


def test_a_scaled_weight_is_a_parameter_with_a_scaled_distribution(lower, only):
    weight = sampled(64, 48)
    text = """g (float[2,48] x) => (float[2,64] y) {
        c = Constant<value = float {0.25}>()
        s = Mul(w, c) v = Transpose(s) y = MatMul(x, v)
    }"""
    graph = lower(text, {"w": weight})
    parameter = graph.weight(only(graph))
    assert parameter is not None
    assert parameter.distribution.variance == pytest.approx(np.var(weight * 0.25, dtype=np.float64), rel=1e-5)


def test_a_weight_that_is_standardised_in_the_graph_is_the_standardised_weight(lower, only):
    text = """g (float[2,48] x) => (float[2,64] y) {
        a = Constant<value = int64[1] {0}>()
        m = ReduceMean(w, a) c = Sub(w, m) q = Mul(c, c) v = ReduceMean(q, a) s = Sqrt(v) n = Div(c, s)
        y = MatMul(x, n)
    }"""
    graph = lower(text, {"w": 3.0 + 7.0 * sampled(48, 64)})
    parameter = graph.weight(only(graph))
    assert parameter is not None
    assert parameter.distribution.variance == pytest.approx(1.0, rel=1e-4)
    assert parameter.distribution.mean == pytest.approx(0.0, abs=1e-6)


def test_a_quantised_weight_has_the_distribution_of_what_it_stands_for(lower, only):
    rng = np.random.default_rng(0)
    stored = rng.integers(-127, 128, (6, 3), dtype=np.int8)
    text = "g (float[2,6] x) => (float[2,3] y) { v = DequantizeLinear(w, scale) y = MatMul(x, v) }"
    graph = lower(text, {"w": stored, "scale": np.float32(0.01)})
    parameter = graph.weight(only(graph))
    assert parameter is not None
    assert parameter.distribution.variance == pytest.approx(np.var(stored.astype(np.float32) * 0.01), rel=1e-4)


def test_gather_on_a_weight_is_an_embedding(lower, only):
    text = "g (int64[2,5] ids) => (float[2,5,8] y) { y = Gather(emb__weight, ids) }"
    node = only(lower(text, {"emb.weight": sampled(10, 8)}))
    assert (node.op, node.inputs, node.path) == (Op.EMBEDDING, ("ids", "emb.weight"), "emb")


def test_positions_that_the_file_fixes_are_constant_ids(lower):
    text = """g (float[2,5,8] x) => (float[2,5,8] y) {
        z = Constant<value = int64 {0}>() n = Constant<value = int64 {5}>() d = Constant<value = int64 {1}>()
        ids = Range(z, n, d) p = Gather(pos__weight, ids) y = Add(x, p)
    }"""
    graph = lower(text, {"pos.weight": sampled(10, 8)})
    embedding, addition = graph.nodes
    assert embedding.op is Op.EMBEDDING
    assert graph.constants[embedding.inputs[0]].array.tolist() == [0, 1, 2, 3, 4]
    assert addition.op is Op.ADD


EINSUM = {
    "bti,io->bto": ((2, 5, 6), (6, 3), 6, 3, 2, 1),
    "bti,oi->bto": ((2, 5, 6), (3, 6), 6, 3, 2, 0),
    "bthd,hdo->bto": ((2, 5, 4, 3), (4, 3, 7), 12, 7, 3, 2),
    "bei,eio->beo": ((2, 4, 6), (4, 6, 3), 6, 3, 2, 2),
}


@pytest.mark.parametrize("equation", EINSUM)
def test_einsum_with_a_weight_is_linear(lower, only, equation):
    x, w, fan_in, fan_out, axis, out_axis = EINSUM[equation]
    text = f'g (float[{",".join(map(str, x))}] x) => (y) {{ y = Einsum<equation="{equation}">(x, w) }}'
    node = only(lower(text, {"w": sampled(*w)}))
    found = [node.attributes[name] for name in ("fan_in", "fan_out", "axis", "out_axis")]
    assert (node.op, found) == (Op.LINEAR, [fan_in, fan_out, axis, out_axis])


def test_einsum_of_activations_is_a_matmul_between_transpositions(lower):
    text = 'g (float[2,5,4,8] q, float[2,7,4,8] k) => (y) { y = Einsum<equation="bthd,bshd->bhts">(q, k) }'
    graph = lower(text)
    assert [node.op for node in graph.nodes] == [Op.TRANSPOSE, Op.TRANSPOSE, Op.MATMUL]
    assert [node.attributes["permutation"] for node in graph.nodes[:2]] == [(0, 2, 1, 3), (0, 2, 3, 1)]
    assert graph.values["y"].shape == (2, 4, 5, 7)


def test_an_einsum_without_a_product_is_opaque(lower, only):
    node = only(lower('g (float[2,5] x) => (y) { y = Einsum<equation="ab->b">(x) }'))
    assert (node.op, node.attributes["type"]) == (Op.OPAQUE, "Einsum")


@pytest.mark.parametrize(
    ("node", "x", "w"),
    [
        ("Gemm<transB=1>(x, w)", (2, 6), (3, 6)),
        ("MatMul(x, w)", (2, 5, 6), (6, 3)),
        ("MatMul(w, x)", (2, 6, 5), (3, 6)),
        ('Einsum<equation="bthd,hdo->bto">(x, w)', (2, 5, 4, 3), (4, 3, 7)),
        ("Conv<group=2, pads=[1,1]>(x, w)", (1, 4, 20), (6, 2, 3)),
        ("ConvTranspose<strides=[2]>(x, w)", (1, 4, 20), (4, 3, 4)),
    ],
)
def test_fan_in_is_what_an_output_sums(lower, node, x, w):
    """With ones everywhere an inner output counts the products it sums."""
    text = f"g (float[{','.join(map(str, x))}] x) => (y) {{ y = {node} }}"
    lowered = lower(text, {"w": np.ones(w)}).nodes[0]
    names = f"g (float[{','.join(map(str, x))}] x, float[{','.join(map(str, w))}] w) => (y) {{ y = {node} }}"
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["" : 20]>\n{names}')
    ones = {"x": np.ones(x, np.float32), "w": np.ones(w, np.float32)}
    (measured,) = ReferenceEvaluator(model).run(None, ones)
    assert lowered.attributes["fan_in"] == pytest.approx(np.median(measured))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "double"])
def test_weights_of_other_element_types(lower, only, dtype):
    weight = sampled(48, 64)

    def convert(model):
        tensor = numpy_helper.from_array(weight.astype(np.float64 if dtype == "double" else np.float16), "w")
        if dtype == "bfloat16":
            bits = (weight.view(np.uint32) >> 16).astype(np.uint16)
            tensor = helper.make_tensor("w", TensorProto.BFLOAT16, weight.shape, bits.tobytes(), raw=True)
        model.graph.initializer.append(tensor)

    text = f"g ({dtype}[2,48] x) => ({dtype}[2,64] y) {{ y = MatMul(x, w) }}"
    graph = lower(text, change=convert)
    parameter = graph.weight(only(graph))
    assert parameter is not None
    assert parameter.dtype == {"double": "float64"}.get(dtype, dtype)
    assert graph.values["y"].is_float
    assert parameter.distribution.variance == pytest.approx(np.var(weight), rel=1e-2)
    assert parameter.values is not None
    assert parameter.values.dtype == np.float64
    assert parameter.values == pytest.approx(weight, rel=1e-2, abs=1e-6)
