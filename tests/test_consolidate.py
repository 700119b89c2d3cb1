from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from initcheck import FailureMode, Finding, Severity
from initcheck.consolidate import cap_assumed, consolidate


def _finding(code: str, segment: str = "0", *layers: str, severity: Severity = Severity.WARNING) -> Finding:
    return Finding(
        code, code.lower(), severity, FailureMode.VANISHING, f"{code} at {segment}", segment=segment, layers=layers
    )


SUBSUMES = {"INI402": frozenset({"INI101", "INI301"}), "INI401": frozenset({"INI402"})}


def test_a_finding_moves_into_the_one_that_explains_it() -> None:
    kept = consolidate([_finding("INI101"), _finding("INI402")], SUBSUMES)
    assert [finding.code for finding in kept] == ["INI402"]
    assert kept[0].related == ("INI101 INI101 at 0",)


def test_another_segment_has_another_root() -> None:
    found = (_finding("INI101", "1"), _finding("INI402", "0"))
    assert consolidate(found, SUBSUMES) == found


def test_a_common_layer_is_a_common_root() -> None:
    kept = consolidate([_finding("INI101", "", "a", "b"), _finding("INI402", "", "b")], SUBSUMES)
    assert [finding.code for finding in kept] == ["INI402"]


def test_findings_without_segment_and_layers_have_no_common_root() -> None:
    found = (_finding("INI101", ""), _finding("INI402", ""))
    assert consolidate(found, SUBSUMES) == found


def test_explanations_are_followed_to_the_last_one() -> None:
    kept = consolidate([_finding("INI101"), _finding("INI402"), _finding("INI401")], SUBSUMES)
    assert [finding.code for finding in kept] == ["INI401"]
    assert kept[0].related == ("INI101 INI101 at 0", "INI402 INI402 at 0")


def test_two_rules_that_explain_each_other_leave_the_first() -> None:
    circle = {"INI101": frozenset({"INI102"}), "INI102": frozenset({"INI101"})}
    kept = consolidate([_finding("INI102"), _finding("INI101")], circle)
    assert [finding.code for finding in kept] == ["INI102"]


def test_the_survivor_is_as_severe_as_the_worst_it_explains() -> None:
    kept = consolidate([_finding("INI101", severity=Severity.ERROR), _finding("INI402")], SUBSUMES)
    assert kept[0].severity is Severity.ERROR


def test_an_assumed_finding_is_a_warning_at_most_and_says_so() -> None:
    assumed = replace(_finding("INI101", severity=Severity.ERROR), assumed=True, cause="uniform weights")
    capped = cap_assumed(assumed)
    assert capped.severity is Severity.WARNING
    assert capped.cause.startswith("uniform weights; ")
    assert "not understood" in capped.cause
    note = replace(assumed, severity=Severity.NOTE)
    assert cap_assumed(note) is note


CODES = st.sampled_from(["A", "B", "C", "D"])


@given(
    st.lists(st.tuples(CODES, st.sampled_from("012")), max_size=8),
    st.dictionaries(CODES, st.frozensets(CODES, max_size=3)),
)
def test_every_finding_stays_or_is_told_by_one_that_stays(
    items: list[tuple[str, str]], subsumes: dict[str, frozenset[str]]
) -> None:
    found = [_finding(code, segment) for code, segment in items]
    kept = consolidate(found, subsumes)
    told = [sentence for finding in kept for sentence in finding.related]
    assert len(kept) + len(told) == len(found)
    assert bool(kept) == bool(found)


def test_one_rule_with_one_remedy_in_several_segments_is_one_finding() -> None:
    found = [
        _finding("INI101", "0", "a"),
        _finding("INI101", "1", "b", severity=Severity.ERROR),
        replace(_finding("INI101", "2", "c"), help="something else"),
    ]
    worst, other = consolidate(found, SUBSUMES)
    assert worst.severity is Severity.ERROR
    assert worst.message == "INI101 at 1; the same in 1 more stretch"
    assert worst.layers == ("b", "a")
    assert worst.related == ("INI101 INI101 at 0",)
    assert other.layers == ("c",)
