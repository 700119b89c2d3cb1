"""The report for people: per model a verdict, one line of facts, depth profiles, the worst layers and the findings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from initcheck.reports.page import draw
from initcheck.reports.place import place
from initcheck.reports.skipped import skipped_sentences
from initcheck.reports.sparkline import sparkline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import RenderableType

    from initcheck.report import LayerRow, ModelReport, Report, ReportedFinding
    from initcheck.reports.style import Style

__all__ = ["render"]

COLORS = {"ok": "bold green", "note": "bold cyan", "warning": "bold yellow", "error": "bold red"}
WORST = 5
ROOMY = 90
PROFILES = (
    ("length", "log10_mean_square"),
    ("signal", "log10_signal"),
    ("gradient", "log10_gradient_mean_square"),
)


def render(report: Report, style: Style) -> str:
    """A block for every model that was analysed; wraps at ``style.width`` and never cuts a name."""
    return draw(_page(report, style), style)


def _page(report: Report, style: Style) -> Iterator[RenderableType]:
    for number, model in enumerate(model for model in report.models if model.status == "ok"):
        if number:
            yield Text()
        yield from _block(model, report, style)


def _block(model: ModelReport, report: Report, style: Style) -> Iterator[RenderableType]:
    verdict = report.verdict(model.target)
    yield Text.assemble((model.target, "bold"), "  ", (verdict, COLORS[verdict]), overflow="fold")
    yield Padding(Text(_facts(model)), (0, 0, 0, 2))
    yield from _profiles(model.layers, style)
    if verdict in {"warning", "error"}:
        yield from _worst(model.layers, style)
    for item in report.findings:
        if item.target == model.target:
            yield from _finding(item)
    for sentence in (*model.assumptions, *model.notes, *skipped_sentences(model)):
        yield Padding(Text(f"note: {sentence}"), (0, 0, 0, 2))


def _facts(model: ModelReport) -> str:
    facts = [
        f"{model.parameters:,} parameters",
        f"{model.analysed_layers} of {model.weighted_layers} weighted layers analysed",
    ]
    if model.summary:
        facts.append(_plural(model.summary.residual_blocks, "residual block"))
        facts.append(_plural(model.summary.segments, "segment"))
        facts.append(f"beta {_number(model.summary.beta, '.3g')}")
    return ", ".join(facts)


def _profiles(rows: tuple[LayerRow, ...], style: Style) -> Iterator[RenderableType]:
    """How the mean squares of activations and of a small perturbation run over the weighted layers, in decades."""
    weighted = [row for row in rows if row.weight is not None]
    for label, attribute in PROFILES:
        values = [_finite(getattr(row, attribute)) for row in weighted]
        known = [value for value in values if value is not None]
        if len(known) < 2:
            continue
        ends = f"10^{_number(known[0])} to 10^{_number(known[-1])}"
        line = sparkline(values, style.width - len(ends) - 14, unicode=style.unicode)
        yield Text(f"  {label:<8} {line}  {ends}", no_wrap=True, overflow="ignore")


def _worst(rows: tuple[LayerRow, ...], style: Style) -> Iterator[RenderableType]:
    """The weighted layers whose values are farthest from those of the input."""
    weighted = [row for row in rows if row.weight is not None]
    worst = sorted(weighted, key=_distance, reverse=True)[:WORST]
    if not worst:
        return
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    table.add_column("worst layers", overflow="fold")
    if style.width >= ROOMY:
        table.add_column("weights", overflow="fold")
    table.add_column("length", justify="right", no_wrap=True)
    table.add_column("signal", justify="right", no_wrap=True)
    for row in weighted:
        if row in worst:
            scheme = row.weight.scheme or f"std {row.weight.std:.3g}" if row.weight else ""
            layer = (row.path, scheme) if style.width >= ROOMY else (f"{row.path}\n  {scheme}",)
            table.add_row(*layer, _power(row, row.log10_mean_square), _power(row, row.log10_signal))
    yield Padding(table, (1, 0, 0, 2))


def _distance(row: LayerRow) -> float:
    if row.state in {"zero", "nonfinite"}:
        return float("inf")
    return max(abs(_finite(row.log10_signal) or 0.0), abs(_finite(row.log10_mean_square) or 0.0))


def _finding(item: ReportedFinding) -> Iterator[RenderableType]:
    finding = item.finding
    yield Text()
    head = Text.assemble(
        (f"{finding.severity} {finding.code}", COLORS[finding.severity]), f" {finding.message} ", overflow="fold"
    )
    head.append(f"[{finding.name}]", "dim")
    yield Padding(head, (0, 0, 0, 2))
    details = Table.grid(padding=(0, 1, 0, 0))
    details.add_column(no_wrap=True)
    details.add_column(overflow="fold")
    if finding.location:
        details.add_row("at:", place(item))
    for label, text in (("cause:", finding.cause), ("help:", finding.help)):
        if text:
            details.add_row(label, text)
    for related in finding.related:
        details.add_row("with:", related)
    if details.row_count:
        yield Padding(details, (0, 0, 0, 4))


def _power(row: LayerRow, value: float | None) -> str:
    return row.state if _finite(value) is None else f"10^{_number(value)}"


def _number(value: float | None, form: str = "z.1f") -> str:
    return "unknown" if value is None else f"{value:{form}}"


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _plural(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
