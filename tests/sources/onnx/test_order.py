from __future__ import annotations

import pytest
from sampled_weights import sampled

from initcheck.errors import ModelLoadError
from initcheck.graph import Op

CHAIN = "g (float[2,6] x) => (c) { a = Relu(x) b = Tanh(a) c = Sigmoid(b) }"


def test_nodes_out_of_order_are_sorted(lower):
    def reverse(model):
        nodes = list(model.graph.node)[::-1]
        del model.graph.node[:]
        model.graph.node.extend(nodes)

    graph = lower(CHAIN, change=reverse)
    assert [node.attributes["function"] for node in graph.nodes] == ["relu", "tanh", "sigmoid"]


def _rewire(model, node, name):
    model.graph.node[node].input[0] = name


BROKEN = {
    "cycle": (lambda model: _rewire(model, 0, "c"), "cycle through a"),
    "undefined": (lambda model: _rewire(model, 1, "ghost"), "reads 'ghost'"),
    "duplicate": (lambda model: model.graph.node[2].output.__setitem__(0, "a"), "'a' is defined twice"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_graph_that_is_none_is_refused(lower, kind):
    change, message = BROKEN[kind]
    with pytest.raises(ModelLoadError) as caught:
        lower(CHAIN, change=change)
    assert caught.value.kind == kind
    assert message in caught.value.message
    assert caught.value.hint


def test_an_output_that_nothing_defines_is_refused(lower):
    def rename(model):
        model.graph.output[0].name = "nowhere"

    with pytest.raises(ModelLoadError, match="'nowhere' is defined by no node"):
        lower(CHAIN, change=rename)


def test_an_opset_newer_than_known_is_a_note(lower):
    def raise_version(model):
        model.opset_import[0].version = 999

    graph = lower(
        "g (float[2,6] x) => (y) { p = MatMul(x, w) y = Relu(p) }", {"w": sampled(6, 3)}, change=raise_version
    )
    assert [node.op for node in graph.nodes] == [Op.LINEAR, Op.ELEMENTWISE]
    assert graph.values["y"].shape == (2, 3)
    assert "opset 999 is newer" in graph.notes[0]


def test_a_graph_without_nodes(lower):
    graph = lower("g (float[2,6] x) => (float[2,6] x) { }")
    assert graph.nodes == ()
    assert graph.outputs == ("x",)


def test_zero_size_tensors_are_lowered(lower):
    graph = lower("g (float[0,6] x) => (y) { y = MatMul(x, w) }", {"w": sampled(6, 0)})
    assert graph.values["y"].shape == (0, 0)
    assert graph.nodes[0].op is Op.LINEAR


def test_lowering_takes_time_proportional_to_the_number_of_nodes(lower):
    import time

    def seconds(count):
        lines = "\n".join(f"a{k + 1} = Relu(a{k})" for k in range(count))
        text = f"g (float[2,6] a0) => (a{count}) {{ {lines} }}"
        start = time.process_time()
        assert len(lower(text).nodes) == count
        return time.process_time() - start

    seconds(100)
    small, large = min(seconds(500) for _ in range(3)), seconds(5000)
    assert large < 30 * small


@pytest.mark.parametrize(
    ("names", "expected"),
    [(("hidden", "logits"), "logits"), (("a", "last_hidden_state"), "last_hidden_state"), (("a", "b"), "a")],
)
def test_main_output(lower, names, expected):
    first, second = names
    graph = lower(f"g (float[2,6] x) => ({first}, {second}) {{ {first} = Relu(x) {second} = Tanh(x) }}")
    assert graph.main_output == expected


def test_an_integer_output_is_not_the_main_one(lower):
    graph = lower("g (float[2,6] x) => (k, y) { k = ArgMax<axis=1>(x) y = Relu(x) }")
    assert graph.main_output == "y"
