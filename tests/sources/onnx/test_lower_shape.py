from __future__ import annotations

import numpy as np
import pytest
from sampled_weights import sampled

from initcheck.graph import Op


def test_slice(lower, only):
    text = """g (float[2,5,8] x) => (y) {
        s = Constant<value = int64[1] {-3}>() e = Constant<value = int64[1] {100}>()
        a = Constant<value = int64[1] {-1}>()
        y = Slice(x, s, e, a)
    }"""
    graph = lower(text)
    assert only(graph).attributes == {"axes": (2,), "dropped": (), "starts": (-3,)}
    assert graph.values["y"].shape == (2, 5, 3)


def test_a_slice_that_keeps_everything_is_an_identity(lower, only):
    text = """g (float[2,5] x) => (y) {
        s = Constant<value = int64[1] {0}>() e = Constant<value = int64[1] {9}>() y = Slice(x, s, e)
    }"""
    assert only(lower(text)).op is Op.IDENTITY


@pytest.mark.parametrize(
    ("indices", "dropped", "shape"), [("int64 {1}", (1,), (2, 8)), ("int64[2] {1,3}", (), (2, 2, 8))]
)
def test_gather_with_constant_indices_is_a_slice(lower, only, indices, dropped, shape):
    graph = lower(f"g (float[2,5,8] x) => (y) {{ i = Constant<value = {indices}>() y = Gather<axis=1>(x, i) }}")
    assert only(graph).attributes == {"axes": (1,), "dropped": dropped, "starts": (1,)}
    assert graph.values["y"].shape == shape


def test_split_defines_all_its_outputs(lower, only):
    graph = lower("g (float[2,6] x) => (a, c) { a, b, c = Split<axis=-1, num_outputs=3>(x) }")
    node = only(graph)
    assert (node.op, node.outputs, node.attributes) == (Op.SPLIT, ("a", "b", "c"), {"axis": 1})
    assert graph.values["b"].shape == (2, 2)


def test_concat(lower, only):
    node = only(lower("g (float[2,6] x, float[2,3] z) => (y) { y = Concat<axis=-1>(x, z, w) }", {"w": sampled(2, 4)}))
    assert (node.op, node.inputs, node.attributes) == (Op.CONCAT, ("x", "z", "w"), {"axis": 1})


def test_pad(lower, only):
    text = """g (float[1,2,4,4] x) => (y) {
        p = Constant<value = int64[4] {1,2,3,0}>() a = Constant<value = int64[2] {2,3}>() y = Pad(x, p, , a)
    }"""
    graph = lower(text)
    assert only(graph).attributes == {"padding": ((0, 0), (0, 0), (1, 3), (2, 0)), "value": 0.0}
    assert graph.values["y"].shape == (1, 2, 8, 6)


def test_reflection_has_no_padding_value(lower, only):
    text = 'g (float[4,4] x) => (y) { p = Constant<value = int64[4] {1,1,1,1}>() y = Pad<mode="reflect">(x, p) }'
    assert only(lower(text)).attributes["value"] is None


def test_resize(lower, only):
    text = (
        'g (float[1,2,4,4] x) => (y) { s = Constant<value = float[4] {1,1,2,2}>() y = Resize<mode="linear">(x, , s) }'
    )
    graph = lower(text)
    assert only(graph).attributes == {"mode": "linear"}
    assert graph.values["y"].shape == (1, 2, 8, 8)


@pytest.mark.parametrize("form", ["ReduceMean<keepdims=0>(x, a)", "ReduceSum<keepdims=0>(x, a)"])
def test_reductions(lower, only, form):
    node = only(lower(f"g (float[2,5,8] x) => (y) {{ a = Constant<value = int64[2] {{-1,1}}>() y = {form} }}"))
    assert node.op is Op.REDUCE
    assert node.attributes == {"function": form[6:].split("<")[0].lower(), "axes": (1, 2), "keepdims": False}


def test_l2_norm_is_spelled_out(lower):
    graph = lower("g (float[2,8] x) => (y) { a = Constant<value = int64[1] {1}>() y = ReduceL2(x, a) }")
    assert [node.op for node in graph.nodes] == [Op.ELEMENTWISE, Op.REDUCE, Op.ELEMENTWISE]
    assert graph.values["y"].shape == (2, 1)


def test_pooling(lower, only):
    text = "g (float[1,2,8,8] x) => (y) { y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(x) }"
    node = only(lower(text))
    assert (node.op, node.kind) == (Op.POOL_AVERAGE, "avg_pool2d")
    assert node.attributes["padding"] == ((1, 1), (1, 1))
    assert node.attributes["count_include_pad"] is True
    assert (
        only(lower("g (float[1,2,8,8] x) => (y) { y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) }")).op
        is Op.POOL_MAX
    )


def test_global_pooling_reduces_the_spatial_axes(lower, only):
    node = only(lower("g (float[1,2,8,8] x) => (y) { y = GlobalAveragePool(x) }"))
    assert node.attributes == {"function": "mean", "axes": (2, 3), "keepdims": True}


def test_a_mask_is_a_constant_and_a_learned_addend_a_parameter(lower):
    mask = np.triu(np.full((5, 5), -1e9, np.float32), 1)
    graph = lower(
        "g (float[2,5,5] x) => (y) { m = Add(x, mask) y = Add(m, bias) }", {"mask": mask, "bias": sampled(5, 5)}
    )
    assert list(graph.constants) == ["mask"]
    assert list(graph.parameters) == ["bias"]


def test_a_factor_per_channel_is_a_parameter_and_a_table_of_factors_a_constant(lower):
    text = "g (float[2,5,8] x) => (y) { m = Mul(x, gamma) y = Mul(m, cosines) }"
    graph = lower(text, {"gamma": sampled(8), "cosines": sampled(5, 8)})
    assert list(graph.parameters) == ["gamma"]
    assert list(graph.constants) == ["cosines"]


@pytest.mark.parametrize(
    ("name", "producer", "learned"),
    [
        ("gate", "pytorch", True),
        ("val_3", "pytorch", False),
        ("blocks__0__gate", "keras", True),
        ("eps", "keras", False),
    ],
)
def test_one_number_is_learned_where_its_name_says_so(lower, name, producer, learned):
    key = name.replace("__", ".")
    graph = lower(f"g (float[2,8] x) => (y) {{ y = Mul(x, {name}) }}", {key: np.zeros(1)}, producer=producer)
    assert (key in graph.parameters) is learned
    assert (key in graph.constants) is not learned


def test_sums_of_many_become_a_chain(lower):
    graph = lower("g (float[2,8] a, float[2,8] b, float[2,8] c) => (y) { y = Mean(a, b, c) }")
    assert [node.op for node in graph.nodes] == [Op.ADD, Op.ADD, Op.MUL]
    assert graph.constants[graph.nodes[-1].inputs[1]].array == pytest.approx(1 / 3)
    assert all(value.shape == (2, 8) for value in graph.values.values())


def test_arithmetic_on_ids_is_no_signal(lower):
    text = """g (int64[2,5] ids) => (float[2,5,8] y) {
        two = Constant<value = int64 {2}>() shifted = Add(ids, two) y = Gather(w, shifted)
    }"""
    graph = lower(text, {"w": sampled(12, 8)})
    assert [node.op for node in graph.nodes] == [Op.OPAQUE, Op.EMBEDDING]
    assert graph.values["shifted"].dtype == "int64"


def test_a_guard_against_not_a_number_is_seen_through(lower):
    text = """g (float[2,5] x) => (float[2,5] y) {
        s = Softmax(x) bad = IsNaN(s) zero = Constant<value_float = 0.0>() y = Where(bad, zero, s)
    }"""
    assert [node.op for node in lower(text).nodes] == [Op.SOFTMAX, Op.IDENTITY]


def test_a_choice_by_a_mask(lower, only):
    text = "g (float[2,5] x) => (float[2,5] y) { low = Constant<value_float = -100.0>() y = Where(mask, x, low) }"
    node = only(lower(text, {"mask": np.array([True, False, True, True, False])}))
    assert (node.op, node.inputs) == (Op.WHERE, ("mask", "x", "low"))


@pytest.mark.parametrize(
    ("split", "sizes"), [("int64 {4}", [4, 4, 4]), ("int64 {5}", [5, 5, 2]), ("int64[2] {8, 4}", [8, 4])]
)
def test_parts_picked_from_a_sequence(lower, split, sizes):
    picks = " ".join(
        f"i{k} = Constant<value = int64 {{{k}}}>() y{k} = SequenceAt(parts, i{k})" for k in range(len(sizes))
    )
    outputs = ", ".join(f"y{k}" for k in range(len(sizes)))
    text = f"""g (float[2,12] x) => ({outputs}) {{
        size = Constant<value = {split}>() parts = SplitToSequence<axis=-1>(x, size) {picks}
    }}"""
    graph = lower(text)
    assert [node.op for node in graph.nodes] == [Op.SPLIT, *[Op.IDENTITY] * len(sizes)]
    assert [graph.values[f"y{k}"].shape for k in range(len(sizes))] == [(2, size) for size in sizes]


def test_a_part_picked_by_a_computed_index_is_opaque(lower):
    text = """g (float[2,12] x, int64 i) => (y) {
        size = Constant<value = int64 {4}>() parts = SplitToSequence<axis=1>(x, size) y = SequenceAt(parts, i)
    }"""
    assert [node.op for node in lower(text).nodes][-1] is Op.OPAQUE


def test_a_parameter_resized_to_its_own_size_is_that_parameter(lower, only):
    text = """g (float[2,3,4,4] x) => (y) {
        sizes = Constant<value = int64[4] {1, 3, 4, 4}>() r = Resize<mode="linear">(position, , , sizes) y = Add(x, r)
    }"""
    node = only(lower(text, {"position": sampled(1, 3, 4, 4)}))
    assert (node.op, node.inputs[1]) == (Op.ADD, "position")
