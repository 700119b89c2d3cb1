from __future__ import annotations

import pytest
from sampled_weights import sampled

from initcheck.graph import Op


def test_conv(lower, only):
    text = """g (float[2,4,9,9] x) => (y) {
        y = Conv<group=2, pads=[1,0,2,1], strides=[2,1], dilations=[1,2]>(x, stem__weight, stem__bias)
    }"""
    graph = lower(text, {"stem.weight": sampled(6, 2, 3, 3), "stem.bias": sampled(6)})
    node = only(graph)
    assert (node.op, node.kind, node.path) == (Op.CONV, "conv2d", "stem")
    assert node.attributes == {
        "kernel": (3, 3),
        "strides": (2, 1),
        "dilations": (1, 2),
        "padding": ((1, 2), (0, 1)),
        "groups": 2,
        "fan_in": 18,
        "fan_out": 27,
        "out_axis": 0,
    }
    assert graph.values["y"].shape == (2, 6, 5, 6)


@pytest.mark.parametrize(("mode", "expected"), [("SAME_UPPER", (1, 2)), ("SAME_LOWER", (2, 1)), ("VALID", (0, 0))])
def test_automatic_padding(lower, only, mode, expected):
    graph = lower(f'g (float[1,3,9] x) => (y) {{ y = Conv<auto_pad="{mode}">(x, w) }}', {"w": sampled(4, 3, 4)})
    assert only(graph).attributes["padding"] == (expected,)
    assert graph.values["y"].shape == (1, 4, 6 if mode == "VALID" else 9)


def test_automatic_padding_of_an_unknown_size_is_opaque(lower, only):
    def forget(model):
        model.graph.input[0].type.tensor_type.ClearField("shape")

    text = 'g (float[1,3,9] x) => (y) { y = Conv<auto_pad="SAME_UPPER">(x, w) }'
    assert only(lower(text, {"w": sampled(4, 3, 4)}, change=forget)).op is Op.OPAQUE


def test_conv_transpose_counts_what_an_output_sums(lower, only):
    text = """g (float[2,8,7,7] x) => (y) {
        y = ConvTranspose<group=2, strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]>(x, up__weight)
    }"""
    graph = lower(text, {"up.weight": sampled(8, 3, 4, 4)})
    node = only(graph)
    assert (node.op, node.kind) == (Op.CONV_TRANSPOSE, "conv_transpose2d")
    assert node.attributes["fan_in"] == 4 * 16 // 4
    assert node.attributes["out_axis"] == 1
    assert node.attributes["output_padding"] == (1, 1)
    assert graph.values["y"].shape == (2, 6, 15, 15)


def test_a_kernel_that_depends_on_the_input_is_opaque(lower):
    graph = lower("g (float[1,3,9] x, float[4,3,3] k) => (y) { y = Conv(x, k) }")
    assert graph.nodes[0].op is Op.OPAQUE
    assert graph.nodes[0].inputs == ("x", "k")
    assert graph.values["y"].shape == (1, 4, 7)


def test_a_bias_added_behind_a_convolution_belongs_to_it(lower, only):
    text = "g (float[1,3,9,9] x) => (y) { c = Conv(x, w) y = Add(c, b) }"
    node = only(lower(text, {"w": sampled(4, 3, 3, 3), "b": sampled(1, 4, 1, 1)}))
    assert node.inputs == ("x", "w", "b")
