from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from initcheck.reports import render
from initcheck.reports.style import Style

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from initcheck import Report


@pytest.mark.parametrize("width", [60, 100])
def test_rich(report: Report, snapshot: SnapshotAssertion, width: int) -> None:
    assert render("rich", report, Style(width=width)) == snapshot


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_no_line_is_wider_than_the_page_and_no_name_is_cut(report: Report, width: int) -> None:
    text = render("rich", report, Style(width=width, verbose=True))
    assert max(map(cell_len, text.splitlines())) <= width
    assert "…" not in text
    first_column = "".join(line.split()[0] for line in text.splitlines() if line.strip())
    for layer in range(8, 12):
        assert f"encoder.blocks.{layer}.feed_forward.projection" in first_column


def test_without_color_there_is_no_escape_and_with_color_there_is(report: Report) -> None:
    assert "\x1b" not in render("rich", report, Style())
    assert "\x1b[1;31merror" in render("rich", report, Style(color=True))


def test_sparklines_fall_back_to_ascii(report: Report) -> None:
    text = render("rich", report, Style(unicode=False))
    profiles = [line for line in text.splitlines() if line.startswith(("  length", "  signal"))]
    assert len(profiles) == 2
    assert all(line.isascii() for line in profiles)


def test_brackets_in_names_are_no_markup(report: Report) -> None:
    odd = replace(report.models[0], target="models/[red]odd[/].onnx")
    assert "models/[red]odd[/].onnx" in render("rich", replace(report, models=(odd,)), Style())


def test_environment_changes_nothing(report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = render("rich", report, Style())
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "30", "TERM": "xterm-256color", "NO_COLOR": ""}.items():
        monkeypatch.setenv(name, value)
    assert render("rich", report, Style()) == plain
