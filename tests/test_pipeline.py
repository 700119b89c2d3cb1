"""The stages put together, with rules made for the test."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import pytest

from initcheck import Analysis, FailureMode, Finding, Need, Rule, Settings, Severity, UsageError, check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
BAD, GOOD = EXAMPLES / "mlp_pytorch_default.onnx", EXAMPLES / "mlp_repaired.onnx"


def _rule(
    code: str,
    found: Callable[[Analysis], Iterator[Finding]],
    *,
    subsumes: frozenset[str] = frozenset(),
    needs: frozenset[Need] = frozenset({Need.GRAPH}),
) -> Rule:
    members: dict[str, Any] = {
        "code": code,
        "name": f"rule-{code.lower()}",
        "failure_mode": FailureMode.DEAD,
        "severity": Severity.ERROR,
        "needs": needs,
        "subsumes": subsumes,
        "check": lambda self, analysis: found(analysis),
        "bad": staticmethod(lambda: None),
        "good": staticmethod(lambda: None),
    }
    made: Rule = type("Made", (), members)()
    return made


def _about(code: str, severity: Severity, layer: int) -> Callable[[Analysis], Iterator[Finding]]:
    def found(analysis: Analysis) -> Iterator[Finding]:
        path = analysis.layers[layer].path
        yield Finding(code, f"rule-{code.lower()}", severity, FailureMode.DEAD, f"{path} is odd", layers=(path,))

    return found


def test_findings_come_by_severity_then_place() -> None:
    rules = [
        _rule("AAA001", _about("AAA001", Severity.NOTE, 0)),
        _rule("AAA002", _about("AAA002", Severity.ERROR, 5)),
        _rule("AAA003", _about("AAA003", Severity.ERROR, 2)),
    ]
    report = check([BAD, GOOD], rules=rules)
    assert [item.finding.code for item in report.findings] == ["AAA003", "AAA002", "AAA001"] * 2
    assert [item.target for item in report.findings] == [BAD.as_posix()] * 3 + [GOOD.as_posix()] * 3
    assert report.worst() is Severity.ERROR


def test_ignoring_a_rule_does_not_raise_what_it_explains() -> None:
    rules = [
        _rule("AAA001", _about("AAA001", Severity.ERROR, 0)),
        _rule("AAA002", _about("AAA002", Severity.WARNING, 0), subsumes=frozenset({"AAA001"})),
    ]
    (only,) = check(BAD, rules=rules).findings
    assert only.finding.code == "AAA002"
    assert only.finding.related == ("AAA001 net.0 is odd",)
    assert check(BAD, Settings(ignore=("AAA002",)), rules=rules).findings == ()
    assert check(BAD, Settings(select=("AAA001",)), rules=rules).findings == ()


def test_a_rule_whose_needs_are_missing_is_listed_and_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = {Need.INITIALIZATION: "weights are trained"}
    monkeypatch.setattr(Analysis, "missing_needs", lambda self: missing)
    rules = [
        _rule("AAA001", _about("AAA001", Severity.ERROR, 0), needs=frozenset({Need.GRAPH, Need.INITIALIZATION})),
        _rule("AAA002", _about("AAA002", Severity.NOTE, 0)),
    ]
    report = check(BAD, rules=rules)
    assert [item.finding.code for item in report.findings] == ["AAA002"]
    assert report.models[0].skipped_rules == {"AAA001": "weights are trained"}
    assert check(BAD, Settings(ignore=("AAA001",)), rules=rules).models[0].skipped_rules == {}


def test_only_the_rules_that_are_asked_for_run() -> None:
    ran: list[str] = []

    def note(code: str) -> Callable[[Analysis], Iterator[Finding]]:
        def found(analysis: Analysis) -> Iterator[Finding]:
            ran.append(code)
            yield from ()

        return found

    check(BAD, Settings(select=("AAA002",)), rules=[_rule("AAA001", note("AAA001")), _rule("AAA002", note("AAA002"))])
    assert ran == ["AAA002"]


def test_a_model_is_dropped_before_the_next_one_is_read() -> None:
    graphs: list[weakref.ref[Any]] = []

    class Marker:
        """Something of the analysis that can be referred to weakly (a slotted graph cannot)."""

    def found(analysis: Analysis) -> Iterator[Finding]:
        assert all(reference() is None for reference in graphs)
        analysis.marker = Marker()  # type: ignore[attr-defined]
        graphs.append(weakref.ref(analysis.marker))  # type: ignore[attr-defined]
        yield from ()

    report = check([BAD, GOOD], rules=[_rule("AAA001", found)])
    assert report.errors == ()
    assert len(graphs) == 2


def test_a_rule_that_fails_is_an_error_of_the_target_and_names_itself() -> None:
    def found(analysis: Analysis) -> Iterator[Finding]:
        raise ZeroDivisionError("by zero")
        yield

    report = check(BAD, rules=[_rule("AAA001", found)])
    (error,) = report.errors
    assert error.kind == "internal"
    assert error.message == "internal error in AAA001: ZeroDivisionError: by zero"
    assert "ZeroDivisionError" in error.details
    assert report.models[0].status == "failed"


def test_a_setting_that_does_not_exist_stops_the_run() -> None:
    rules = [_rule("AAA001", _about("AAA001", Severity.ERROR, 0))]
    for settings in (Settings(select=("BBB",)), Settings(assume_init="no_such_scheme")):
        with pytest.raises(UsageError):
            check(BAD, settings, rules=rules)


def test_a_size_that_does_not_fit_one_model_leaves_the_others_their_verdict(tmp_path: Path) -> None:
    fixed = onnx.load(GOOD)
    fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(fixed, tmp_path / "fixed.onnx")
    report = check(
        [tmp_path, BAD], Settings(dims={"batch": 8}), rules=[_rule("AAA001", _about("AAA001", Severity.ERROR, 0))]
    )
    assert [(error.kind, "batch" in error.message) for error in report.errors] == [("usage", True)]
    assert [item.target for item in report.findings] == [BAD.as_posix()]
