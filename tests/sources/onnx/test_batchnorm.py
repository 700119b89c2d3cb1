from __future__ import annotations

import numpy as np
import pytest
from sampled_weights import sampled

from initcheck.graph import Op

CONV = "g (float[2,3,9,9] x) => (y) { c = Conv(x, w, b) y = Relu(c) }"
DEEP = "g (float[2,3,9,9] x) => (y) { c = Conv(x, c1__weight, c1__bias) r = Relu(c) y = Conv(r, c2__weight, c2__bias) }"


def rename(weight, bias):
    def change(model):
        node = model.graph.node[0]
        node.name = "/stem/Conv"
        node.input[1:] = [weight, bias]

    return change


def mark(
    rule,
    scopes="['', 'bn', 'batch_norm']",
    classes="['Net', 'torch.nn.modules.batchnorm.BatchNorm2d', 'aten.batch_norm']",
):
    def change(model):
        node = model.graph.node[0]
        node.input[1:] = ["stem.weight", "stem.weight_bias"]
        for key, value in (
            ("pkg.onnxscript.rewriter.rule_name", rule),
            ("pkg.torch.onnx.name_scopes", scopes),
            ("pkg.torch.onnx.class_hierarchy", classes),
        ):
            entry = node.metadata_props.add()
            entry.key, entry.value = key, value

    return change


def test_a_fold_that_the_legacy_exporter_left_is_put_back(lower):
    weights = {"onnx::Conv_63": sampled(4, 3, 3, 3), "onnx::Conv_64": np.zeros(4)}
    graph = lower(CONV, weights, producer="pytorch", change=rename("onnx::Conv_63", "onnx::Conv_64"))
    conv, norm, _ = graph.nodes
    assert (conv.op, conv.path, conv.kind) == (Op.CONV, "stem", "conv2d")
    assert norm.op is Op.NORMALIZE
    assert norm.kind == "batch_norm"
    assert norm.attributes == {"kind": "batch", "epsilon": 1e-5, "training": True, "folded": True}
    assert norm.inputs[0] == conv.outputs[0]
    assert norm.outputs == ("c",)
    assert graph.values[conv.outputs[0]].shape == (2, 4, 7, 7)
    assert graph.assumptions == ("batch normalisation that the exporter folded into 1 layer was put back",)
    assert graph.folded_normalization is False
    assert graph.parameters["onnx::Conv_63"].name == "stem.weight"


@pytest.mark.parametrize("rule", ["FuseBatchNormIntoConv, RemoveOptionalBiasFromConv", "FuseBatchNormIntoConv"])
def test_a_fold_that_the_dynamo_exporter_names_is_put_back(lower, rule):
    weights = {"stem.weight": sampled(4, 3, 3, 3), "stem.weight_bias": np.zeros(4)}
    graph = lower(CONV, weights, producer="pytorch", change=mark(rule))
    assert [node.path for node in graph.nodes[:2]] == ["stem", "bn"]
    assert graph.nodes[1].attributes["folded"] is True


def test_another_rewrite_is_no_fold(lower):
    weights = {"stem.weight": sampled(4, 3, 3, 3), "stem.weight_bias": np.zeros(4)}
    change = mark(
        "RemoveOptionalBiasFromConv", "['', 'stem', 'conv2d']", "['Net', 'torch.nn.modules.conv.Conv2d', 'aten.conv2d']"
    )
    graph = lower(CONV, weights, producer="pytorch", change=change)
    assert [node.op for node in graph.nodes] == [Op.CONV, Op.ELEMENTWISE]


def test_a_fold_into_a_linear_layer_is_put_back(lower):
    graph = lower(
        "g (float[2,6] x) => (y) { c = Gemm(x, w, b) y = Relu(c) }",
        {"stem.weight": sampled(6, 3), "stem.weight_bias": np.zeros(3)},
        change=mark("FuseBatchNormIntoGemm"),
    )
    assert [node.op for node in graph.nodes] == [Op.LINEAR, Op.NORMALIZE, Op.ELEMENTWISE]


def test_a_norm_that_was_traced_in_training_mode_trains(lower, only):
    def trace(model):
        node = model.graph.node[0]
        for key, value in (
            ("name_scopes", "['', 'bn', 'batch_norm']"),
            ("class_hierarchy", "['Net', 'BatchNorm2d', 'aten._native_batch_norm_legit_functional.default']"),
            ("fx_node", "%b : call_function[target=...](args = (%x, %w, %b, %m, %v, True, 0.1, 1e-05), kwargs = {})"),
        ):
            entry = node.metadata_props.add()
            entry.key, entry.value = f"pkg.torch.onnx.{key}", value

    text = "g (float[4,8,3,3] x) => (y) { y = BatchNormalization(x, s, b, m, v) }"
    weights = {"s": np.ones(8), "b": np.zeros(8), "m": np.zeros(8), "v": np.ones(8)}
    graph = lower(text, weights, change=trace)
    assert only(graph).attributes["training"] is True
    assert "taken in training mode" in graph.assumptions[0]
    assert only(lower(text, weights)).attributes["training"] is False


TWO = {"c1.weight": sampled(4, 3, 3, 3), "c2.weight": sampled(4, 4, 3, 3, seed=1)}
ZERO = {"c1.bias": np.zeros(4), "c2.bias": np.zeros(4)}


@pytest.mark.parametrize(
    ("producer", "biases", "suspicious"),
    [
        ("tf2onnx", ZERO, True),
        ("pytorch", ZERO, False),
        ("tf2onnx", {"c1.bias": np.zeros(4), "c2.bias": sampled(4)}, False),
    ],
)
def test_zero_biases_raise_suspicion_where_names_tell_nothing(lower, producer, biases, suspicious):
    assert lower(DEEP, TWO | biases, producer=producer).folded_normalization is suspicious


def test_convolutions_without_bias_and_without_norm_raise_suspicion(lower):
    text = "g (float[2,3,9,9] x) => (y) { y = Conv(x, w) }"
    assert lower(text, {"w": sampled(4, 3, 3, 3)}, producer="tf2onnx").folded_normalization is True


def test_a_norm_in_the_file_or_no_convolution_is_no_suspicion(lower):
    text = "g (float[2,3,9,9] x) => (y) { c = Conv(x, w) y = InstanceNormalization(c, s, b) }"
    weights = {"w": sampled(4, 3, 3, 3), "s": np.ones(4), "b": np.zeros(4)}
    assert lower(text, weights, producer="tf2onnx").folded_normalization is False
    assert lower("g (float[2,6] x) => (y) { y = MatMul(x, w) }", {"w": sampled(6, 3)}).folded_normalization is False
