"""The measurement for people: facts, depth profiles of both, and a table of every layer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from initcheck.measurement import QUANTITIES
from initcheck.reports.console import draw
from initcheck.reports.measure_concise import measured, predicted
from initcheck.reports.sparkline import sparkline

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from initcheck.measurement import MeasuredLayer, Measurement, MeasurementReport, Quantity
    from initcheck.reports.style import Style

__all__ = ["render"]

MARK = "bold yellow"
INDENT = 2
GAP = 2


def render(report: MeasurementReport, style: Style) -> str:
    """Wraps at ``style.width`` and never cuts a name; nothing where nothing was measured."""
    return draw(_page(report.measurement, report, style), style) if report.measurement else ""


def _page(measurement: Measurement, report: MeasurementReport, style: Style) -> Iterator[RenderableType]:
    count = measurement.disagreeing
    verdict = f"{count} of {measurement.measured} layers not as predicted" if count else "as predicted"
    yield Text.assemble((measurement.target, "bold"), "  ", (verdict, MARK if count else "bold green"), overflow="fold")
    yield _indented(_facts(measurement, report))
    yield _indented(f"inputs {measurement.inputs}")
    yield from _profiles(measurement.layers, style)
    yield Text()
    finest, coarser = (_Numbers(measurement.layers, style, digits) for digits in (2, 1))
    yield from (coarser if coarser.width <= style.width < finest.width else finest).table()
    yield _indented("log10 of mean squares, measured ± standard error; * marks what was not predicted", style)
    for sentence in measurement.notes:
        yield _indented(f"note: {sentence}")


def _facts(measurement: Measurement, report: MeasurementReport) -> str:
    seeds = measurement.seeds
    spelled = f"seeds {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f"seed {seeds[0]}"
    facts = [
        f"{measurement.parameters:,} parameters",
        f"{measurement.measured} of {len(measurement.layers)} layers measured",
        f"{len(seeds)} initialisations ({spelled})" if len(seeds) > 1 else f"1 initialisation ({spelled})",
        f"batch of {measurement.samples} on {report.plan.device}",
    ]
    return ", ".join(facts)


def _indented(sentence: str, style: Style | None = None) -> RenderableType:
    text = sentence if style is None or style.unicode else sentence.replace("±", "+-")
    return Padding(Text(text, overflow="fold"), (0, 0, 0, INDENT))


def _profiles(layers: Sequence[MeasuredLayer], style: Style) -> Iterator[RenderableType]:
    """How the quantities run over the weighted layers, in decades; prediction and measurement on one scale."""
    weighted = [layer for layer in layers if layer.weight is not None]
    for name in QUANTITIES:
        series = {
            label: [_finite(getattr(getattr(layer, name), label)) for layer in weighted]
            for label in ("predicted", "measured")
        }
        known = [value for values in series.values() for value in values if value is not None]
        for label, values in series.items():
            own = [value for value in values if value is not None]
            if len(own) < 2:
                continue
            ends = f"10^{own[0]:z.1f} to 10^{own[-1]:z.1f}"
            width = max(style.width - len(ends) - 24, 1)
            line = sparkline(values, width, unicode=style.unicode, bounds=(min(known), max(known)))
            yield Text(f"  {name:<8} {label:<9} {line}  {ends}", no_wrap=True, overflow="ignore")


@dataclass(frozen=True, slots=True)
class _Cell:
    """A number as it is shown."""

    text: str
    is_marked: bool = False


class _Numbers:
    """The table: names beside or above columns of numbers, whatever the width has room for."""

    def __init__(self, layers: Sequence[MeasuredLayer], style: Style, digits: int) -> None:
        self._layers = layers
        self._style = style
        self._digits = digits
        self._shown = [name for name in QUANTITIES if any(_is_known(getattr(layer, name)) for layer in layers)]
        self._has_stored = any(getattr(layer, name).stored is not None for layer in layers for name in self._shown)
        self._rows = [self._cells(layer) for layer in layers]
        heads = [title for name in self._shown for title in self._titles(name)]
        columns = zip(heads, *([cell.text for cell in row] for row in self._rows), strict=True)
        self._widths = [max(map(len, column)) for column in columns]
        self._heads = [_Cell(head) for head in heads]

    @property
    def width(self) -> int:
        """Columns that the numbers take."""
        return len(self._line(self._heads))

    def table(self) -> Iterator[RenderableType]:
        """Names and numbers side by side, else names above numbers, else one line for every quantity."""
        names = max((len(layer.path) for layer in self._layers), default=0)
        weights = max((len(_weights(layer)) for layer in self._layers), default=0)
        if self._style.width >= INDENT + names + weights + 2 * GAP + self.width:
            yield Padding(self._beside(), (0, 0, 0, INDENT))
            return
        stacked = self._style.width < self.width
        indent = min(INDENT, max(self._style.width - self.width, 0))
        if not stacked:
            yield Padding(Text(self._line(self._heads).plain, "dim", no_wrap=True), (0, 0, 0, indent))
        for layer, row in zip(self._layers, self._rows, strict=True):
            yield Text.assemble((layer.path, "bold"), "  ", _weights(layer), overflow="fold")
            if stacked:
                yield from self._stacked(row)
            else:
                yield Padding(self._line(row), (0, 0, 0, indent))

    def _beside(self) -> Table:
        table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("layer", no_wrap=True)
        table.add_column("weights", no_wrap=True)
        table.add_column(self._line(self._heads), no_wrap=True)
        for layer, row in zip(self._layers, self._rows, strict=True):
            table.add_row(layer.path, _weights(layer), self._line(row))
        return table

    def _stacked(self, row: Sequence[_Cell]) -> Iterator[RenderableType]:
        per_quantity = len(self._titles(""))
        for at, name in enumerate(self._shown):
            cells = row[at * per_quantity : (at + 1) * per_quantity]
            line = Text(f"{name}:")
            for cell, title in zip(cells, ("predicted", "measured", "stored"), strict=False):
                line.append(f" {title} ").append(cell.text.strip() or "-", MARK if cell.is_marked else "")
            yield Padding(line, (0, 0, 0, INDENT))

    def _titles(self, name: str) -> tuple[str, ...]:
        return (name, "measured ", "stored") if self._has_stored else (name, "measured ")

    def _cells(self, layer: MeasuredLayer) -> list[_Cell]:
        cells: list[_Cell] = []
        for name in self._shown:
            quantity: Quantity = getattr(layer, name)
            state = layer.predicted_state if name == "length" else "unknown"
            told = predicted(quantity, state, self._digits)
            cells.append(_Cell("" if told == "-" else told))
            mark = "*" if quantity.disagrees else " "
            cells.append(_Cell(measured(quantity, self._style.unicode, self._digits) + mark, quantity.disagrees))
            if self._has_stored:
                cells.append(_Cell("" if quantity.stored is None else f"{quantity.stored:z.{self._digits}f}"))
        return cells

    def _line(self, cells: Sequence[_Cell]) -> Text:
        """Cells right-aligned in their columns; the place for a mark sets quantities apart, else a blank."""
        line = Text(no_wrap=True)
        for at, (cell, width) in enumerate(zip(cells, self._widths, strict=True)):
            starts = self._has_stored and at % len(self._titles("")) == 0
            line.append(" " * (1 + starts) if at else "")
            line.append(cell.text.rjust(width), MARK if cell.is_marked else "")
        return line


def _weights(layer: MeasuredLayer) -> str:
    weight = layer.weight
    return (weight.scheme or f"std {weight.std:.3g}") if weight else ""


def _is_known(quantity: Quantity) -> bool:
    return quantity.predicted is not None or quantity.measured is not None or quantity.zeros > 0


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
