from __future__ import annotations

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from sampled_weights import sampled

from initcheck.graph import Op
from initcheck.sources.onnx.call import read_call
from initcheck.sources.onnx.numeric import NUMERIC

F = np.linspace(0.2, 2.0, 12, dtype=np.float32).reshape(3, 4)
I = np.arange(-6, 6, dtype=np.int64).reshape(3, 4)  # noqa: E741
B = I > 0
AXES = np.array([1], np.int64)

UNARY = ("Ceil", "Cos", "Exp", "Floor", "Log", "Reciprocal", "Round", "Sigmoid", "Sin", "Sqrt", "Tanh")
COMPARISONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
BINARY = ("Add", "Div", "Max", "Min", "Mul", "Sub", "Sum", *COMPARISONS)
REDUCTIONS = ("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum")

FORMS = [
    *((name, [I], {}) for name in ("Abs", "Neg", "Sign")),
    *((name, [F], {}) for name in UNARY),
    *((name, [F, F[:1]], {}) for name in BINARY),
    ("Div", [I, np.array(4)], {}),
    ("Mod", [I, np.array(5)], {}),
    ("Mod", [I, np.array(5)], {"fmod": 1}),
    ("Pow", [F, np.float32(3)], {}),
    ("MatMul", [F, F.T.copy()], {}),
    *((name, [B, B[:1]], {}) for name in ("And", "Or", "Xor")),
    ("Not", [B], {}),
    ("IsNaN", [F], {}),
    ("IsInf", [F], {}),
    ("NonZero", [I], {}),
    ("Where", [B, F, F[:1]], {}),
    ("Cast", [F], {"to": 7}),
    ("Clip", [F, np.float32(0.5), np.float32(1.5)], {}),
    ("Concat", [F, F], {"axis": -1}),
    ("ConstantOfShape", [np.array([2, 3])], {"value": helper.make_tensor("v", 1, [1], [0.5])}),
    ("CumSum", [F, np.array(1)], {}),
    ("Expand", [F[:1], np.array([3, 1])], {}),
    ("Flatten", [F.reshape(3, 2, 2)], {"axis": 2}),
    ("Gather", [F, np.array([[0, -1]])], {"axis": 1}),
    ("GatherElements", [F, np.array([[0, 1], [2, 3], [3, 0]])], {"axis": 1}),
    ("Identity", [F], {}),
    ("Range", [np.array(2), np.array(9), np.array(3)], {}),
    *((name, [F, AXES], {"keepdims": keep}) for name in REDUCTIONS for keep in (0, 1)),
    ("ReduceSum", [F], {}),
    ("ReduceSum", [F], {"noop_with_empty_axes": 1}),
    ("Reshape", [F, np.array([0, 2, -1])], {}),
    ("Slice", [F, np.array([3]), np.array([-100]), np.array([1]), np.array([-2])], {}),
    ("Slice", [F, np.array([1]), np.array([100]), np.array([0])], {}),
    ("Split", [F, np.array([1, 3])], {"axis": 1}),
    ("Split", [F], {"axis": 1, "num_outputs": 3}),
    ("Squeeze", [F[:1], np.array([0])], {}),
    ("Tile", [F, np.array([2, 1])], {}),
    ("Transpose", [F], {"perm": [1, 0]}),
    ("Transpose", [F], {}),
    ("Trilu", [F], {"upper": 0}),
    ("Trilu", [F, np.array(1)], {}),
    ("Unsqueeze", [F, np.array([0, 3])], {}),
    ("DequantizeLinear", [I.astype(np.int8), np.float32([0.1, 0.2, 0.3, 0.4]), np.int8([1, 2, 3, 4])], {"axis": 1}),
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=[form[0] for form in FORMS])
def test_numpy_agrees_with_the_reference(form):
    operator, arrays, attributes = form
    names = [f"i{position}" for position in range(len(arrays))]
    count = {"Split": attributes.get("num_outputs", 2)}.get(operator, 1)
    node = helper.make_node(operator, names, [f"o{position}" for position in range(count)], **attributes)
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.asarray(array).dtype), np.shape(array))
        for name, array in zip(names, arrays, strict=True)
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in node.output]
    model = helper.make_model(
        helper.make_graph([node], "g", inputs, outputs), opset_imports=[helper.make_opsetid("", 20)]
    )
    expected = ReferenceEvaluator(model).run(None, dict(zip(names, map(np.asarray, arrays), strict=True)))
    computed = NUMERIC[operator](read_call(node, 0, {"": 20}), [np.asarray(array) for array in arrays])
    assert computed is not None
    for ours, theirs in zip(computed, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)
        assert np.asarray(ours).dtype == np.asarray(theirs).dtype


def test_every_numpy_operator_is_compared():
    assert set(NUMERIC) == {form[0] for form in FORMS}


def test_a_shape_that_is_computed_from_the_input_is_known(lower, only):
    text = """g (float[2,3,8,8] x) => (y) {
        s = Shape(x) z = Constant<value = int64[1] {0}>() o = Constant<value = int64[1] {1}>()
        n = Slice(s, z, o) m = Constant<value = int64[1] {-1}>() t = Concat<axis=0>(n, m) y = Reshape(x, t)
    }"""
    graph = lower(text)
    assert only(graph).op is Op.RESHAPE
    assert graph.values["y"].shape == (2, 192)


def test_the_reference_evaluates_what_numpy_does_not(lower, only):
    text = """g (float[2,6] x) => (y) {
        i = Constant<value = int64[3] {0,2,4}>() d = Constant<value = int64 {6}>()
        v = Constant<value = float[2] {0,1}>()
        m = OneHot(i, d, v) t = Transpose(m) y = MatMul(x, t)
    }"""
    graph = lower(text)
    assert only(graph).attributes["fan_in"] == 6


def test_a_large_weight_is_looked_through_without_being_read(lower, monkeypatch):
    from initcheck.sources.onnx import known

    monkeypatch.setattr(known, "FOLD_LIMIT", 1024)
    text = """g (float[2,64] x) => (y) {
        c = Constant<value_float = 0.5>() s = Mul(w, c) t = Transpose(s) y = MatMul(x, t)
    }"""
    graph = lower(text, {"w": sampled(32, 64)})
    parameter = graph.weight(graph.nodes[0])
    assert parameter is not None
    assert parameter.distribution.std == pytest.approx(0.5, rel=0.05)
    assert graph.nodes[0].attributes["out_axis"] == 0


def test_constants_of_any_size_take_no_memory(lower):
    text = """g (float[2,50000] x) => (y) {
        s = Constant<value = int64[2] {50000, 4000}>() w = ConstantOfShape<value = float[1] {0.5}>(s) y = MatMul(x, w)
    }"""
    graph = lower(text)
    parameter = graph.weight(graph.nodes[0])
    assert parameter is not None
    assert parameter.distribution.size == 200_000_000
    assert parameter.distribution.is_constant


def test_a_branch_that_a_constant_picks_is_taken(lower):
    text = """g (float[2,6] x) => (float[2,3] y) {
        yes = Constant<value = bool {1}>()
        y = If (yes) <
            then_branch = a () => (float[2,3] p) { p = MatMul(x, w) },
            else_branch = b () => (float[2,3] q) { q = my.domain.Mystery(x) }
        >
    }"""
    graph = lower(text, {"w": sampled(6, 3)})
    assert [node.op for node in graph.nodes] == [Op.LINEAR, Op.IDENTITY]
    assert graph.outputs == ("y",)


def test_a_branch_that_the_input_picks_is_opaque(lower, only):
    text = """g (float[2,6] x, bool c) => (float[2,3] y) {
        y = If (c) <
            then_branch = a () => (float[2,3] p) { p = MatMul(x, w) },
            else_branch = b () => (float[2,3] q) { q = MatMul(x, v) }
        >
    }"""
    graph = lower(text, {"w": sampled(6, 3), "v": sampled(6, 3)})
    assert only(graph).inputs == ("c", "x", "w", "v")
    assert graph.values["y"].shape == (2, 3)


def test_functions_of_the_model_are_inlined(lower, only):
    def add_function(model):
        function = helper.make_function(
            "local", "Double", ["a"], ["b"], [helper.make_node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 20)]
        )
        model.functions.append(function)

    text = "g (float[2,6] x) => (float[2,6] y) { y = local.Double(x) }"
    graph = lower(text, opset='"" : 20, "local" : 1', change=add_function)
    assert only(graph).op is Op.ADD
    assert only(graph).inputs == ("x", "x")


def test_what_no_output_needs_is_left_out(lower, only):
    graph = lower("g (float[2,6] x) => (float[2,6] y) { y = Relu(x) unused = MatMul(x, w) }", {"w": sampled(6, 3)})
    assert only(graph).op is Op.ELEMENTWISE
    assert graph.parameters == {}
    assert graph.parameter_count == 18
