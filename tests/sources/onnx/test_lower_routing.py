from __future__ import annotations

import pytest

from initcheck.graph import Op


def test_top_k(lower, only):
    graph = lower("g (float[2,8] x) => (v, i) { k = Constant<value = int64[1] {2}>() v, i = TopK(x, k) }")
    node = only(graph)
    assert (node.op, node.attributes) == (Op.TOP_K, {"axis": 1, "count": 2, "largest": True})
    assert graph.values[node.outputs[0]].shape == (2, 2)


@pytest.mark.parametrize(("reverse", "axis"), [(0, 1), (1, -2)])
def test_cumulative_sum(lower, only, reverse, axis):
    text = (
        f"g (float[2,5,8] x) => (y) {{ a = Constant<value = int64 {{{axis}}}>() y = CumSum<reverse={reverse}>(x, a) }}"
    )
    node = only(lower(text))
    assert (node.op, node.attributes) == (Op.CUMULATE, {"axis": 1, "reverse": bool(reverse)})


def test_random_numbers(lower):
    graph = lower("g (float[2,8] x) => (y) { n = RandomNormalLike<scale=0.5>(x) y = Add(x, n) }")
    random, total = graph.nodes
    assert (random.op, random.inputs) == (Op.RANDOM, ())
    assert random.attributes == {"family": "normal", "mean": 0.0, "std": 0.5}
    assert total.op is Op.ADD
    assert graph.values[random.outputs[0]].shape == (2, 8)


def test_integers_cast_to_real_numbers(lower, only):
    assert only(lower("g (int64[4] t) => (float[4] y) { y = Cast<to=1>(t) }")).op is Op.REAL
