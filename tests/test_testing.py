"""Every demand of initcheck.testing is met by a sound rule, and refuses the rule that breaks it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pytest

from initcheck import Builder, FailureMode, Finding, Location, Need, Severity
from initcheck.testing import check_rule, rule_cases, run_rule
from initcheck.testing.demands import DEMANDS, from_onnx
from initcheck.testing.strangers import strangers
from initcheck.testing.trial import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from initcheck import Analysis, Graph


@dataclass(frozen=True, slots=True)
class LoudLayer:
    """A weight drawn too wide.

    What it checks:
        The standard deviation of each weight.

    Why it fails:
        It is loud.

    Example:
        ``nn.init.normal_(layer.weight, std=3.0)``.

    Instead:
        ``nn.init.normal_(layer.weight, std=0.1)``.

    Limits:
        None.

    References:
        None.
    """

    code: ClassVar[str] = "TEAM901"
    name: ClassVar[str] = "loud-layer"
    failure_mode: ClassVar[FailureMode] = FailureMode.EXPLODING
    severity: ClassVar[Severity] = Severity.WARNING
    needs: ClassVar[frozenset[Need]] = frozenset({Need.PARAMETERS})
    subsumes: ClassVar[frozenset[str]] = frozenset()

    largest: float = 1.0

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        for layer in analysis.layers:
            if layer.weight is not None and layer.weight.distribution.std > self.largest:
                yield Finding(
                    code=self.code,
                    name=self.name,
                    severity=self.severity,
                    failure_mode=self.failure_mode,
                    message=f"{layer.path} has a standard deviation of {layer.weight.distribution.std:g}",
                    help="nn.init.normal_(layer.weight, std=0.1); nn.init.zeros_(layer.bias)",
                    layers=(layer.path,),
                    evidence={"std": float(layer.weight.distribution.std), "bound": self.largest},
                )

    @staticmethod
    def bad() -> Graph:
        return network(3.0)

    @staticmethod
    def good() -> Graph:
        return network(0.1)


def network(std: float, function: str = "relu") -> Graph:
    b = Builder()
    return b.graph(b.linear(b.activation(b.linear(b.x, 64, f"normal(0, {std})"), function), 10))


@dataclass(frozen=True, slots=True)
class SilentLayer(LoudLayer):
    __doc__ = LoudLayer.__doc__

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        return iter(())


class PlainLayer:
    __doc__ = LoudLayer.__doc__
    code, name, failure_mode = LoudLayer.code, LoudLayer.name, LoudLayer.failure_mode
    severity, needs, subsumes = LoudLayer.severity, LoudLayer.needs, LoudLayer.subsumes
    bad, good = staticmethod(LoudLayer.bad), staticmethod(LoudLayer.good)

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        return LoudLayer().check(analysis)


class CountingLayer(PlainLayer):
    """One that keeps a list."""

    seen: ClassVar[list[str]] = []

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        self.seen.append("a model")
        return super().check(analysis)


class TellingLayer(CountingLayer):
    """One that tells how often it ran."""

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        for finding in super().check(analysis):
            yield replace(finding, message=f"{finding.message}, run {len(self.seen)}")


class LambdaLayer(PlainLayer):
    """One with an option that no worker process can be sent."""

    def __init__(self) -> None:
        self.is_loud = lambda std: std > 1.0


class CarelessLayer(PlainLayer):
    """One that has met a single kind of model."""

    def check(self, analysis: Analysis) -> Iterator[Finding]:
        assert analysis.layers[0].weight
        return super().check(analysis)


def changed(**changes: Any) -> type[Any]:
    """A rule like ``LoudLayer`` but for some attributes of the class."""
    return type("Changed", (LoudLayer,), {"__doc__": LoudLayer.__doc__, **changes})


def finding_changed(**changes: Any) -> type[Any]:
    """A rule like ``LoudLayer`` but for some attributes of its findings."""

    def check(self: Any, analysis: Analysis) -> Iterator[Finding]:
        return (replace(finding, **changes) for finding in LoudLayer().check(analysis))

    return changed(check=check)


@pytest.mark.parametrize("case", rule_cases([LoudLayer]))
def test_a_sound_rule_meets_every_demand(case: Callable[[], None]) -> None:
    case()


def only(*, exact: bool, good: Callable[[], Graph] = LoudLayer.good) -> type[Any]:
    """A rule that judges laws that are known exactly, or only those that are not."""

    def check(self: Any, analysis: Analysis) -> Iterator[Finding]:
        known = all(layer.weight.distribution.exact for layer in analysis.layers if layer.weight)
        return LoudLayer().check(analysis) if known is exact else iter(())

    return changed(check=check, good=staticmethod(good))


@pytest.fixture(autouse=True)
def _forget() -> None:
    CountingLayer.seen.clear()


ALL_DEMANDS = {**DEMANDS, "examples-hold-as-onnx": from_onnx}
PAGE = LoudLayer.__doc__ or ""
TWO_LINES = "one\ntwo"
BROKEN: list[tuple[str, type[Any], list[str]]] = [
    ("is-a-rule", changed(code="loud1"), ["code 'loud1'", "write it as"]),
    ("is-a-rule", changed(code="INI999"), ["letters of the built-in rules"]),
    ("is-a-rule", changed(name="Loud Layer"), ["'Loud Layer' is not kebab case"]),
    ("is-a-rule", changed(severity="error"), ["severity 'error'"]),
    ("is-a-rule", changed(severity=Severity.OFF), ["severity"]),
    ("is-a-rule", changed(failure_mode="loud"), ["initcheck.FailureMode"]),
    ("is-a-rule", changed(needs={"signal"}), ["initcheck.Need"]),
    ("is-a-rule", changed(subsumes=["INI101"]), ["frozenset of codes"]),
    ("is-a-rule", changed(__init__=lambda self, option: None), ["without arguments", "give every option a default"]),
    ("is-a-rule", type("Nothing", (), {}), ["it lacks code, name"]),
    ("page-is-complete", changed(__doc__=None), ["has no docstring"]),
    ("page-is-complete", changed(__doc__=PAGE.replace("wide.", "wide")), ["begin with a sentence", "full stop"]),
    ("page-is-complete", changed(__doc__=PAGE.replace("Limits:", "Bounds:")), ["'Bounds'", "not ['What it checks'"]),
    ("page-is-complete", changed(__doc__=PAGE.replace("    It is loud.", "")), ["headings"]),
    ("bad-example-fires", SilentLayer, ["bad() gives no finding"]),
    ("good-example-is-silent", changed(good=LoudLayer.bad), ["good() gives a finding with --optimizer sgd"]),
    ("findings-are-well-formed", finding_changed(code="TEAM902"), ["one of TEAM902", "code=self.code"]),
    ("findings-are-well-formed", finding_changed(severity=Severity.ERROR), ["is error", "warning at most"]),
    ("findings-are-well-formed", finding_changed(severity=Severity.OFF), ["has the severity"]),
    ("findings-are-well-formed", finding_changed(failure_mode="loud"), ["failure mode 'loud'"]),
    ("findings-are-well-formed", finding_changed(message=TWO_LINES), ["message of several lines"]),
    ("findings-are-well-formed", finding_changed(cause=TWO_LINES), ["cause of several lines"]),
    ("findings-are-well-formed", finding_changed(message=""), ["no message"]),
    ("findings-are-well-formed", finding_changed(help=""), ["no help"]),
    ("findings-are-well-formed", finding_changed(layers=()), ["no layers"]),
    ("findings-are-well-formed", finding_changed(layers=("absent",)), ["('absent',)", "layer.path"]),
    ("findings-are-well-formed", finding_changed(layers="0"), ["give a tuple"]),
    ("findings-are-well-formed", finding_changed(segment="0"), ["segment '0'", "segment {segment.index}"]),
    ("findings-are-well-formed", finding_changed(location=Location("m.py", 0)), ["no place"]),
    ("findings-are-well-formed", finding_changed(evidence={"std": np.float32(3.0)}), ["JSON cannot hold"]),
    ("findings-are-well-formed", finding_changed(evidence={"std": float("inf")}), ["None for what is not finite"]),
    ("findings-are-well-formed", finding_changed(evidence={"pair": (1, 2)}), ["lists for tuples"]),
    ("help-silences", finding_changed(help="nn.init.normal_(layer.weight, 0, 2.0)"), ["its own help", "0, 2.0"]),
    ("help-silences", changed(helped=staticmethod(lambda finding: network(2.0))), ["its own help"]),
    ("is-pure", CountingLayer, ["changes the attribute seen", "local variables"]),
    ("is-pure", TellingLayer, ["different findings", "pure function"]),
    ("can-be-pickled", LambdaLayer, ["cannot be pickled", "top of a module"]),
    ("can-be-pickled", changed(), ["cannot be pickled"]),
    ("can-be-pickled", finding_changed(evidence={"f": lambda: None}), ["cannot be pickled"]),
    ("examples-hold-as-onnx", only(exact=True), ["once it is an ONNX file", "without_onnx={'TEAM901'}"]),
    ("examples-hold-as-onnx", only(exact=False, good=LoudLayer.bad), ["good() gives a finding as an ONNX file"]),
    ("examples-hold-as-onnx", changed(bad=lambda: network(3.0, "sin")), ["no ONNX operator is written for sin"]),
]


@pytest.mark.parametrize(("title", "rule", "words"), BROKEN)
def test_a_demand_that_is_not_met_says_what_where_and_what_to_do(title: str, rule: type[Any], words: list[str]) -> None:
    with pytest.raises(AssertionError) as caught:
        ALL_DEMANDS[title](Trial(rule, built_in=False))
    message = str(caught.value)
    assert message.startswith(f"{rule.__module__}.{rule.__qualname__}: ")
    assert "; " in message
    assert all(word in message for word in words), message


def test_a_rule_that_breaks_on_another_model_is_told_which() -> None:
    with pytest.raises(IndexError) as caught:
        DEMANDS["runs-on-any-model"](Trial(CarelessLayer, built_in=False))
    assert caught.value.__notes__ == [
        f"{__name__}.CarelessLayer on a network without weights; a rule must run on every model, or be silent"
    ]


def test_an_example_that_lacks_what_the_rule_needs_is_told_apart_from_one_that_does_not_fire() -> None:
    def trained() -> Graph:
        rng = np.random.default_rng(0)
        b = Builder()
        x = b.x
        for _ in range(3):
            x = b.activation(b.linear(x, 64, 3.0 * rng.standard_t(4.0, (64, 64))))
        return b.graph(b.linear(x, 10))

    needs = frozenset({Need.INITIALIZATION})
    for title, name in (("bad-example-fires", "bad"), ("good-example-is-silent", "good")):
        with pytest.raises(AssertionError, match=rf"needs initialization, which {name}\(\) has not: .*trained"):
            DEMANDS[title](Trial(changed(needs=needs, **{name: staticmethod(trained)}), built_in=False))


def test_words_in_a_help_line_are_let_off_and_a_rule_may_follow_them_itself() -> None:
    words = finding_changed(help="draw it with a smaller standard deviation")
    DEMANDS["help-silences"](Trial(words, built_in=False))
    words.helped = staticmethod(lambda finding: network(finding.evidence["bound"] / 2.0))
    DEMANDS["help-silences"](Trial(words, built_in=False))
    words.helped = staticmethod(lambda finding: network(finding.evidence["std"]))
    with pytest.raises(AssertionError, match="its own help"):
        DEMANDS["help-silences"](Trial(words, built_in=False))


def test_the_first_demand_that_is_not_met_ends_the_check() -> None:
    check_rule(LoudLayer)
    with pytest.raises(AssertionError, match="letters of the built-in rules"):
        check_rule(changed(code="INI999", __doc__=None))
    DEMANDS["is-a-rule"](Trial(changed(code="INI999"), built_in=True))


def test_cases_carry_the_code_and_the_demand_as_their_name() -> None:
    cases = rule_cases([LoudLayer, changed(code="TEAM902", name="louder")], without_onnx={"TEAM902"})
    names = [case.__name__ for case in cases]
    assert names[0] == "bundle-codes-and-names-are-unique"
    assert names[1:] == [*(f"TEAM901-{title}" for title in ALL_DEMANDS), *(f"TEAM902-{title}" for title in DEMANDS)]
    cases[0]()


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([], "holds no rule"),
        ([LoudLayer, changed(name="louder")], "2 rules of the bundle have the code 'TEAM901'"),
        ([LoudLayer, changed(code="TEAM902")], "2 rules of the bundle have the name 'loud-layer'"),
    ],
)
def test_a_bundle_whose_rules_clash_is_refused(rules: list[type[Any]], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        rule_cases(rules)[0]()


def test_strangers_differ_and_can_be_analysed() -> None:
    graphs = strangers()
    assert len({repr(graph.nodes) for graph in graphs.values()}) == len(graphs)
    assert all(run_rule(SilentLayer(), graph) == () for graph in graphs.values())


def test_the_module_imports_neither_pytest_nor_onnx_nor_torch() -> None:
    code = "import sys, initcheck.testing; print(*{'pytest', 'onnx', 'torch', 'rich'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
