from __future__ import annotations

import numpy as np
import pytest
from sampled_weights import sampled

from initcheck.errors import UsageError

RELU = "g (float[{shape}] x) => (y) {{ y = Relu(x) }}"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ("N,16", (32, 16)),
        ("N,C,H,W", (32, 16, 64, 64)),
        ("N,3,H,224", (32, 3, 64, 224)),
        ("batch,length,8", (32, 16, 8)),
        ("seq_len,batch_size,8", (16, 32, 8)),
        ("1,3,8,8", (1, 3, 8, 8)),
        ("N,N", (32, 32)),
    ],
)
def test_defaults_of_symbolic_dimensions(lower, shape, expected):
    graph = lower(RELU.format(shape=shape))
    assert graph.values["x"].shape == graph.values["y"].shape == expected
    symbolic = any(not size.isdigit() for size in shape.split(","))
    assert bool(graph.assumptions) is symbolic


def test_assumed_sizes_are_said(lower):
    (sentence,) = lower(RELU.format(shape="N,T,8")).assumptions
    assert "N=32, T=16" in sentence
    assert "--dim" in sentence


def test_a_nameless_dimension_is_replaced_too(lower):
    def forget(model):
        model.graph.input[0].type.tensor_type.shape.dim[0].Clear()

    graph = lower(RELU.format(shape="7,16"), change=forget)
    assert graph.values["y"].shape == (32, 16)
    assert "x[0]=32" in graph.assumptions[0]


def test_dimensions_and_shapes_are_set(lower):
    assert lower(RELU.format(shape="N,T,8"), dims={"N": 4, "T": 9}).values["y"].shape == (4, 9, 8)
    graph = lower(RELU.format(shape="N,T,8"), shapes={"x": (4, 9, 8)})
    assert graph.values["y"].shape == (4, 9, 8)
    assert graph.assumptions == ()


def test_a_shape_fixes_the_same_dimension_of_other_inputs(lower):
    text = "g (float[N,8] x, float[N,8] z) => (y) { y = Add(x, z) }"
    assert lower(text, shapes={"z": (5, 8)}).values["y"].shape == (5, 8)


def test_an_expression_in_dimensions_is_evaluated(lower):
    def rename(model):
        model.graph.input[1].type.tensor_type.shape.dim[1].dim_param = "past + 1"

    text = "g (float[N,past] x, float[N,total] z) => (y) { y = Concat<axis=1>(x, z) }"
    assert lower(text, dims={"past": 6}, change=rename).values["z"].shape == (32, 7)


@pytest.mark.parametrize("symbol", ["+".join(["a"] * 5000), "-" * 100_000 + "1", "9" * 30, "*".join(["99999"] * 30)])
def test_an_expression_out_of_all_bounds_is_a_name(lower, symbol):
    def rename(model):
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = symbol

    assert lower(RELU.format(shape="batch,8"), change=rename).values["x"].shape == (32, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": {"bach": 4}}, "symbolic dimension 'bach'; did you mean batch?"),
        ({"dims": {"batch": 0}}, "is 0; give a size from 1 to"),
        ({"dims": {"batch": 2**63}}, "is 9223372036854775808; give a size from 1 to"),
        ({"shapes": {"x": (2**63, 8)}}, "is 9223372036854775808; give a size from 1 to"),
        ({"shapes": {"pixels": (1, 8)}}, "there is no input 'pixels'"),
        ({"shapes": {"x": (4, 9)}}, "fixed to 8, not 9"),
        ({"shapes": {"x": (4, 8, 1)}}, "2 axes, the shape 4,8,1 has 3"),
        ({"shapes": {"x": (4, 8)}, "dims": {"batch": 5}}, "'batch' is 5 and 4"),
    ],
)
def test_a_size_that_contradicts_the_file_is_refused(lower, options, message):
    with pytest.raises(UsageError) as caught:
        lower(RELU.format(shape="batch,8"), **options)
    assert message in str(caught.value)


def test_old_files_list_weights_among_the_inputs(lower):
    def list_weight(model):
        model.ir_version = 3
        entry = model.graph.input.add()
        entry.name = "w"

    graph = lower("g (float[2,6] x) => (y) { y = MatMul(x, w) }", {"w": sampled(6, 3)}, change=list_weight)
    assert graph.inputs == ("x",)


def test_masks_and_positions_are_not_taken_for_data(lower):
    text = """g (int64[N,T] input_ids, int64[N,T] attention_mask, int64[N,T] position_ids) => (y) {
        a = Gather(w, input_ids) b = Gather(v, position_ids) s = Add(a, b)
        m = Cast<to=1>(attention_mask) o = Constant<value = int64[1] {2}>() u = Unsqueeze(m, o) y = Mul(s, u)
    }"""
    graph = lower(text, {"w": sampled(20, 8), "v": sampled(20, 8)}, dims={"T": 5})
    assert graph.inputs == ("input_ids",)
    assert graph.constants["position_ids"].array[0].tolist() == [0, 1, 2, 3, 4]
    assert np.all(graph.constants["u"].array == 1)
    assert "input attention_mask is taken as all ones" in graph.assumptions


def test_a_stale_shape_in_the_file_gives_way_to_the_inferred_one(lower):
    text = "g (float[N,6] x) => (float[1,3] y) <float[1,6] r> { r = Relu(x) y = MatMul(r, w) }"
    graph = lower(text, {"w": sampled(6, 3)})
    assert graph.values["r"].shape == (32, 6)
    assert graph.values["y"].shape == (32, 3)


def test_a_declared_shape_helps_where_nothing_is_inferred(lower):
    graph = lower("g (float[N,6] x) => (y) <float[N,4] r> { r = my.domain.Mystery(x) y = Relu(r) }")
    assert graph.values["r"].shape == (32, 4)
    assert graph.values["y"].shape == (32, 4)
