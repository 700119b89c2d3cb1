"""INI104: a mean of weights, where it floods a layer and what it explains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from rule_networks import findings, mlp, reported
from torch import nn
from torch_networks import from_torch, sequential

from initcheck import Builder, FailureMode, Severity

if TYPE_CHECKING:
    from collections.abc import Callable

HIDDEN = [64] * 5


def positive(seed: int = 0) -> np.ndarray:
    return np.abs(np.random.default_rng(seed).normal(0.0, (2.0 / 64.0) ** 0.5, (64, 64)))


def shifted(by: float, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(0.0, (2.0 / 64.0) ** 0.5, (64, 64))
    return drawn + by * drawn.std()


def test_the_share_is_that_of_sampled_outputs() -> None:
    rng = np.random.default_rng(1)
    for by in (0.1, 0.3, 1.0):
        weight, x = shifted(by), np.maximum(rng.normal(size=(4096, 64)), 0.0)
        y = x @ weight.T
        common = np.mean(y.mean(axis=1) ** 2)
        (finding,) = findings("INI104", mlp(HIDDEN, special={2: weight})) if by > 0.2 else (None,)
        if finding is None:
            assert common < 0.5 * np.mean(y**2)
        else:
            assert finding.evidence["shared"] == pytest.approx(common / np.mean(y**2), abs=0.05)


# Started by momentum SGD at one of four rates: yes, yes, yes, yes, no, no.
@pytest.mark.parametrize(
    ("weights", "severity"),
    [
        ({2: shifted(0.1)}, None),
        ({2: positive()}, Severity.NOTE),
        ({k: shifted(0.3, k) for k in range(5)}, Severity.NOTE),
        ({2: "uniform(0, 1)"}, Severity.NOTE),
        ({k: positive(k) for k in (1, 2, 3)}, Severity.WARNING),
        ({k: positive(k) for k in range(5)}, Severity.WARNING),
    ],
)
def test_what_trains_is_a_note(weights: dict[int, Any], severity: Severity | None) -> None:
    found = findings("INI104", mlp(HIDDEN, special=weights))
    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_it_explains_an_explosion() -> None:
    graph = mlp([64] * 8, "uniform(0, 1)")
    assert {finding.code for rule in ("INI102", "INI104") for finding in findings(rule, graph)} == {"INI102", "INI104"}
    assert reported(graph) == ["error INI104"]
    (finding,) = findings("INI104", graph)
    assert finding.failure_mode is FailureMode.EXPLODING


def test_it_does_not_take_over_what_it_does_not_explain() -> None:
    special = {2: shifted(0.5)}
    assert reported(mlp([64] * 14, "normal(0, 1)", special=special)) == ["error INI102"]


def test_weights_that_are_never_positive_are_a_matter_of_signs() -> None:
    assert reported(mlp(HIDDEN, special={2: -positive()})) == ["error INI101"]


@pytest.mark.parametrize(("norm", "severity"), [("layer", None), ("batch", Severity.WARNING), ("", Severity.WARNING)])
def test_norms_over_units_subtract_it_and_batch_norm_does_not(norm: str, severity: Severity | None) -> None:
    found = findings("INI104", mlp(HIDDEN, special={k: positive(k) for k in range(5)}, norm=norm))
    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_heads_constants_identities_and_depthwise_filters_are_not_meant() -> None:
    assert findings("INI104", mlp(HIDDEN, special={5: "uniform(0, 1)"})) == ()
    assert findings("INI104", mlp(HIDDEN, special={2: "constant(0.1)", 3: "identity"})) == ()
    b = Builder((8, 16, 8, 8))
    x = b.activation(b.conv(b.x, 16))
    x = b.activation(b.conv(x, 16, "uniform(0, 0.2)", groups=16))
    assert findings("INI104", b.graph(b.linear(b.pool(x), 10))) == ()


def everywhere(change: Callable[[torch.Tensor], Any]) -> Callable[[], nn.Module]:
    def make(layers: list[nn.Linear]) -> None:
        for layer in layers:
            change(layer.weight.data)

    return lambda: sequential([64] * 6, make)


@pytest.mark.parametrize(
    "change", [lambda w: w.uniform_(0, 1), lambda w: w.abs_(), lambda w: w.copy_(torch.rand(w.shape))]
)
def test_in_pytorch(change: Callable[[torch.Tensor], Any]) -> None:
    graph = from_torch(everywhere(change), 8, 64)
    (finding,) = findings("INI104", graph)
    assert finding.severity is Severity.WARNING
    assert finding.layers[0] == "0"
    assert findings("INI104", from_torch(everywhere(lambda w: w), 8, 64)) == ()


def test_the_help_line_centres() -> None:
    (finding,) = findings("INI104", from_torch(everywhere(lambda w: w.abs_()), 8, 64))

    def mend(layers: list[nn.Linear]) -> None:
        for layer in layers:
            exec(finding.help, {"nn": nn, "layer": layer})

    assert findings("INI104", from_torch(lambda: sequential([64] * 6, mend), 8, 64)) == ()
