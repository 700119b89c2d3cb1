from __future__ import annotations

import numpy as np
import pytest
from sampled_weights import sampled

from initcheck.graph import Op


def test_layer_normalization(lower, only):
    text = "g (float[2,5,8] x) => (y) { y = LayerNormalization<axis=-1, epsilon=0.001>(x, s, b) }"
    node = only(lower(text, {"s": np.ones(8), "b": np.zeros(8)}))
    assert (node.op, node.kind, node.inputs) == (Op.NORMALIZE, "layer_norm", ("x", "s", "b"))
    assert node.attributes == {"kind": "layer", "axes": (2,), "epsilon": pytest.approx(1e-3)}


def test_rms_normalization(lower, only):
    node = only(lower("g (float[2,5,8] x) => (y) { y = RMSNormalization(x, s) }", {"s": np.ones(8)}, opset='"" : 23'))
    assert (node.kind, node.attributes["kind"], node.attributes["axes"]) == ("rms_norm", "rms", (2,))


STATISTICS = {"s": np.ones(8), "b": np.zeros(8), "m": np.zeros(8), "v": np.ones(8)}


@pytest.mark.parametrize("mode", [0, 1])
def test_batch_normalization_says_whether_it_trains(lower, only, mode):
    text = f"g (float[4,8,3,3] x) => (y) {{ y = BatchNormalization<training_mode={mode}>(x, s, b, m, v) }}"
    node = only(lower(text, STATISTICS))
    assert (node.attributes["kind"], node.attributes["training"], node.attributes["folded"]) == (
        "batch",
        bool(mode),
        False,
    )
    assert node.inputs == ("x", "s", "b", "m", "v")


def test_batch_normalization_of_opset_9_trains_when_it_writes_statistics(lower, only):
    text = "g (float[4,8,3,3] x) => (y) { y, o1, o2, o3, o4 = BatchNormalization(x, s, b, m, v) }"
    assert only(lower(text, STATISTICS, opset='"" : 9')).attributes["training"] is True
    text = "g (float[4,8,3,3] x) => (y) { y = BatchNormalization(x, s, b, m, v) }"
    assert only(lower(text, STATISTICS, opset='"" : 9')).attributes["training"] is False


def test_group_and_instance_normalization(lower, only):
    text = "g (float[2,8,4,4] x) => (y) { y = GroupNormalization<num_groups=4>(x, s, b) }"
    node = only(lower(text, {"s": np.ones(8), "b": np.zeros(8)}, opset='"" : 21'))
    assert (node.attributes["kind"], node.attributes["groups"]) == ("group", 4)
    text = "g (float[2,8,4,4] x) => (y) { y = InstanceNormalization(x, s, b) }"
    assert only(lower(text, {"s": np.ones(8), "b": np.zeros(8)})).attributes["kind"] == "instance"


def test_residual_addition_and_normalization_in_one(lower):
    text = "g (float[2,5,8] x, float[2,5,8] r) => (y) { y = com.microsoft.SkipLayerNormalization(x, r, s, b) }"
    graph = lower(text, {"s": np.ones(8), "b": np.zeros(8)}, opset='"" : 20, "com.microsoft" : 1')
    assert [node.op for node in graph.nodes] == [Op.ADD, Op.NORMALIZE]
    assert graph.nodes[1].inputs[1:] == ("s", "b")


def test_softmax_axis_is_counted_from_the_front(lower, only):
    assert only(lower("g (float[2,5,8] x) => (y) { y = Softmax(x) }")).attributes == {"axis": 2}


def test_softmax_before_opset_13_over_several_axes_is_opaque(lower, only):
    node = only(lower("g (float[2,5,8] x) => (y) { y = Softmax<axis=1>(x) }", opset='"" : 11'))
    assert node.op is Op.OPAQUE


def test_log_softmax_is_a_logarithm_behind_a_softmax(lower):
    graph = lower("g (float[2,8] x) => (float[2,8] y) { y = LogSoftmax<axis=1>(x) }")
    assert [node.op for node in graph.nodes] == [Op.SOFTMAX, Op.ELEMENTWISE]
    assert graph.nodes[1].attributes["function"] == "log"


def test_dropout(lower, only):
    text = """g (float[2,8] x) => (y) {
        r = Constant<value_float = 0.25>() t = Constant<value = bool {1}>() y = Dropout(x, r, t)
    }"""
    assert only(lower(text)).attributes == {"rate": 0.25, "training": True}
    assert only(lower("g (float[2,8] x) => (y) { y = Dropout(x) }")).attributes == {"rate": 0.5, "training": False}


def test_attention(lower, only):
    text = "g (float[2,4,5,8] q, float[2,4,7,8] k, float[2,4,7,6] v) => (y) { y = Attention<is_causal=1>(q, k, v) }"
    graph = lower(text, opset='"" : 23')
    node = only(graph)
    assert node.op is Op.ATTENTION
    assert node.attributes == {"scale": pytest.approx(8**-0.5), "causal": True}
    assert graph.values["y"].shape == (2, 4, 5, 6)


def test_lstm(lower, only):
    text = 'g (float[7,2,5] x) => (y) { y, h = LSTM<hidden_size=8, direction="bidirectional">(x, W, R, B) }'
    graph = lower(text, {"W": sampled(2, 32, 5), "R": sampled(2, 32, 8), "B": sampled(2, 64)})
    node = only(graph)
    expected = {"cell": "lstm", "hidden": 8, "directions": 2, "activation": "tanh", "fan_in": 5, "fan_out": 32}
    assert node.attributes == expected
    assert node.inputs == ("x", "W", "R", "B", "")
    assert graph.values["y"].shape == (7, 2, 2, 8)
