"""INI101 and INI102: where, why, how much."""

from __future__ import annotations

import math

import numpy as np
import pytest
from rule_networks import findings, mlp, reported

from initcheck import Builder, FailureMode, Graph, Op, Optimizer, Severity, Value


@pytest.mark.parametrize(("depth", "expected"), [(4, []), (6, [Severity.WARNING]), (20, [Severity.ERROR])])
def test_pytorch_default_loses_a_factor_of_six_per_layer(depth: int, expected: list[Severity]) -> None:
    found = findings("INI101", mlp([64] * depth, "pytorch_default", bias="uniform(±1/√fan_in)"))
    assert [finding.severity for finding in found] == expected
    for finding in found:
        assert finding.evidence["log10_signal_gain"] == pytest.approx(-depth * math.log10(6.0), abs=1e-6)
        assert f"over {depth} layers" in finding.message
        assert f"{depth} of {depth} layers: kaiming_uniform(a=√5) (PyTorch's default)" in finding.cause
        assert "gives 0.33/fan_in, ReLU needs 2/fan_in" in finding.cause
        assert finding.layers[0] == "fc0"


def test_adam_has_wider_bounds() -> None:
    severities = []
    for depth in (10, 16, 20):
        graph = mlp([64] * depth, "pytorch_default", bias="uniform(±1/√fan_in)")
        assert [f.severity for f in findings("INI101", graph)] == [Severity.ERROR]
        severities.append([f.severity for f in findings("INI101", graph, Optimizer.ADAM)])
    assert severities == [[], [Severity.WARNING], [Severity.ERROR]]


def test_a_single_small_weight_recovers_but_two_starve_each_other() -> None:
    tiny = "normal(0, 0.0001)"
    assert findings("INI101", mlp([64] * 12, special={5: tiny})) == ()
    (finding,) = findings("INI101", mlp([64] * 12, special={5: tiny, 8: tiny}))
    assert finding.layers == ("fc5", "fc8")
    assert "over 2 layers (" in finding.message
    assert "starting at fc5" in finding.message
    assert finding.cause.startswith("2 of 2 layers: normal(0, 0.0001) gives 6.4e-07/fan_in")


def test_a_single_culprit_is_named_alone() -> None:
    (finding,) = findings("INI102", mlp([64] * 12, special={5: "normal(0, 1000)"}))
    assert finding.layers == ("fc5",)
    assert "over 1 layer (" in finding.message
    assert "starting at fc5" in finding.message


def test_growth_without_length_has_the_bounds_of_chaos() -> None:
    # Gain 3 on tanh: perturbations grow, the length cannot.
    shallow, deep = (findings("INI102", mlp([64] * depth, "xavier_normal(gain=3)", act="tanh")) for depth in (12, 60))
    assert shallow == ()
    assert [f.severity for f in deep] == [Severity.ERROR]


def test_two_schemes_are_two_clauses() -> None:
    graph = mlp([64] * 12, "xavier_normal", special=dict.fromkeys(range(6), "normal(0, 0.01)"))
    (finding,) = findings("INI101", graph)
    first, second = finding.cause.split("; ")
    assert first == "6 of 12 layers: normal(0, 0.01) gives 0.0064/fan_in, ReLU needs 2/fan_in"
    assert second == "6 of 12 layers: xavier_normal gives 1/fan_in, ReLU needs 2/fan_in"


@pytest.mark.parametrize(("act", "name"), [("relu", "ReLU"), ("gelu", "GELU"), ("tanh", "tanh"), ("selu", "SELU")])
def test_the_cause_names_the_users_own_activation(act: str, name: str) -> None:
    (finding,) = findings("INI101", mlp([64] * 12, "normal(0, 0.01)", act=act))
    assert f"{name} needs" in finding.cause


def test_relu_that_a_bias_switches_off_is_dead() -> None:
    (finding,) = findings("INI101", mlp([64] * 5, special_bias={2: "constant(-20)"}))
    assert finding.severity is Severity.ERROR
    assert finding.failure_mode is FailureMode.DEAD
    assert finding.layers == ("fc2",)
    (finding,) = findings("INI101", mlp([64] * 5, special_bias={2: "constant(-1e9)"}))
    assert "to exactly zero at fc2" in finding.message
    assert finding.evidence["log10_signal_gain"] is None


def test_saturated_sigmoid_is_named() -> None:
    graph = mlp([64] * 3, act="sigmoid", special_bias={1: "constant(30)"})
    (finding,) = findings("INI101", graph)
    assert finding.failure_mode is FailureMode.SATURATION
    assert finding.layers == ("fc1",)


@pytest.mark.parametrize("norm", ["layer", "rms", "batch"])
@pytest.mark.parametrize("init", ["normal(0, 0.01)", "normal(0, 1)", "pytorch_default"])
def test_normalization_ends_the_product(norm: str, init: str) -> None:
    assert reported(mlp([64] * 20, init, norm=norm)) == []


def test_sampling_error_counts_in_favour() -> None:
    rng = np.random.default_rng(0)
    scale = math.sqrt(2.0 / 64.0) * 10.0 ** (-4.0 / 6.0 / 2.0)
    # Seven layers, one of which is left out of the sum.
    layers = {k: scale * rng.normal(size=(64, 64)) for k in range(7)}
    (exact,) = findings("INI101", mlp([64] * 7, f"normal(0, {scale * 0.9999})"))
    assert exact.severity is Severity.WARNING
    assert findings("INI101", mlp([64] * 7, special={k: 1.001 * w for k, w in layers.items()})) == ()


def test_stored_statistics_cap_at_a_note() -> None:
    def network(training: bool) -> list[str]:
        b = Builder()
        x = b.x
        for _ in range(14):
            x = b.activation(b.normalize(b.linear(x, 64, "normal(0, 1)"), "batch", training=training))
        return reported(b.graph(b.linear(x, 10)))

    assert network(training=True) == []
    assert network(training=False) == ["note INI102", "note INI902"]


@pytest.mark.parametrize("understood", [True, False])
def test_exactly_zero_is_not_proved_by_a_guess(understood: bool) -> None:
    b = Builder()
    x = b.linear(b.x, 64)
    if not understood:
        x = b.node(Op.OPAQUE, (x,), b.shape(x), {"type": "Custom"})
    graph = b.graph(b.linear(b.activation(x, "above", threshold=0.0), 10))
    found = [finding.severity for finding in findings("INI101", graph)]
    assert found == ([Severity.ERROR] if understood else [])


def test_after_an_unknown_operation_findings_are_assumed() -> None:
    b = Builder()
    x = b.node(Op.OPAQUE, (b.x,), (32, 64), {"type": "example.Warp"}, path="warp")
    for _ in range(10):
        x = b.activation(b.linear(x, 64, "normal(0, 0.01)"))
    graph = b.graph(b.linear(x, 10))
    (finding,) = findings("INI101", graph)
    assert finding.assumed
    (unknown,) = findings("INI901", graph)
    assert unknown.layers == ("warp",)


@pytest.mark.parametrize("understood", [True, False])
def test_what_products_make_of_a_guess_is_a_note(understood: bool) -> None:
    b = Builder((32, 16))
    x = b.linear(b.x, 16, "kaiming_normal(gain=2)")
    if not understood:
        x = b.node(Op.OPAQUE, (x,), b.shape(x), {"type": "example.Warp"})
    for _ in range(4):
        # Squares of squares: a length twice as large at the start is 2^16 times as large at the end.
        x = b.combine(Op.MUL, x, x)
    graph = b.graph(b.linear(x, 10))
    (finding,) = findings("INI102", graph)
    assert finding.severity is (Severity.ERROR if understood else Severity.NOTE)


def test_an_unknown_operation_that_gives_integers_hides_nothing() -> None:
    b = Builder()
    scores = b.linear(b.activation(b.linear(b.x, 64)), 10)
    best = b.node(Op.OPAQUE, (scores,), (32,), {"type": "ArgMax"}, path="argmax")
    b.values[best] = Value((32,), "int64")
    assert reported(b.graph(best)) == []


def test_a_zero_head_does_not_shrink_and_a_large_one_explodes() -> None:
    assert reported(mlp([64] * 4, special={4: "zeros"})) == []
    assert reported(mlp([64] * 4, special={4: "normal(0, 1e-6)"})) == []
    assert reported(mlp([64] * 4, special={4: "normal(0, 1000)"})) == ["error INI102"]


@pytest.mark.parametrize(("place", "act", "dead"), [(2, "relu", True), (0, "relu", False), (2, "tanh", False)])
def test_negative_weights_on_a_positive_input_switch_relu_off(place: int, act: str, dead: bool) -> None:
    negative = -np.abs(np.random.default_rng(0).normal(0.0, 0.18, (64, 64)))
    found = findings("INI101", mlp([64] * 4, act=act, special={place: negative}))
    assert [finding.failure_mode for finding in found] == ([FailureMode.DEAD] if dead else [])
    for finding in found:
        assert "to exactly zero at fc2" in finding.message
        assert "relu never switches on" in finding.cause
    assert findings("INI101", mlp([64] * 4, act=act, special={place: np.abs(negative)})) == ()


def test_a_layer_that_is_off_beside_a_skip_cuts_nothing() -> None:
    b = Builder()
    x = b.activation(b.linear(b.x, 64))
    negative = -np.abs(np.random.default_rng(0).normal(0.0, 0.18, (64, 64)))
    x = b.add(x, b.activation(b.linear(x, 64, negative)))
    assert findings("INI101", b.graph(b.linear(x, 10))) == ()


@pytest.mark.parametrize("std", [1e-6, 1e-4, 1.0])
def test_a_small_table_beside_positions_grows(std: float) -> None:
    """Its gradient is that of a table of any size, and the first steps bring it to where it counts."""
    assert findings("INI101", positions_added(f"normal(0, {std})", "normal(0, 1)")) == ()


def test_tokens_below_large_positions_do_not() -> None:
    (finding,) = findings("INI101", positions_added("normal(0, 1)", "normal(0, 10000)"))
    assert finding.severity is Severity.ERROR


def positions_added(table: str, positions: str) -> Graph:
    b = Builder((4, 16), "int64")
    x = b.add(b.embedding(b.x, 100, 64, table), b.parameter("positions", (16, 64), positions))
    return b.graph(b.linear(b.normalize(x), 10, path="head"))
