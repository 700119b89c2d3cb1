from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from initcheck import Location, Report, ReportedFinding
from initcheck.reports import render
from initcheck.reports.style import Style

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion


def test_concise(report: Report, snapshot: SnapshotAssertion) -> None:
    assert render("concise", report, Style()) == snapshot


def test_verbose_adds_cause_and_help(report: Report, snapshot: SnapshotAssertion) -> None:
    assert render("concise", report, Style(verbose=True)) == snapshot


def test_one_finding_is_one_line_at_any_width_and_with_any_message(report: Report) -> None:
    item = report.findings[0]
    long = replace(item.finding, message=f"first line\nsecond {'word ' * 200}end")
    text = render("concise", replace(report, findings=(ReportedFinding(item.target, long),)), Style(width=40))
    assert text.count("\n") == 1
    assert text.endswith("end [vanishing-signal]\n")


def test_the_target_is_named_unless_the_location_names_it(report: Report) -> None:
    finding = replace(report.findings[0].finding, location=Location("models.py", 41, "exact"))
    inside = replace(report, findings=(ReportedFinding("models.py:build", finding),))
    assert render("concise", inside, Style()).startswith("models.py:41: error INI101 signal shrinks")
    factory = replace(finding, location=Location("models.py", 3, "factory"))
    one_of_many = replace(report, findings=(ReportedFinding("models.py:build", factory),))
    assert render("concise", one_of_many, Style()).startswith("models.py:3: error INI101 models.py:build: signal")
    outside = replace(report, findings=(ReportedFinding("m.onnx", finding),))
    assert render("concise", outside, Style()).startswith("models.py:41: error INI101 m.onnx: signal shrinks")


def test_color_marks_the_severity_only(report: Report) -> None:
    text = render("concise", report, Style(color=True))
    assert text.startswith("models/bad.onnx: \x1b[1;31merror INI101\x1b[0m signal")


def test_a_clean_report_is_empty(report: Report) -> None:
    assert render("concise", replace(report, findings=()), Style()) == ""
