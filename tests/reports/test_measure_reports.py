"""The formats of ``initcheck measure``, on a measurement written by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from initcheck import TargetError, WeightRow
from initcheck.measurement import MeasuredLayer, Measurement, MeasurementReport, Plan, Quantity
from initcheck.reports import MEASUREMENT_FORMATS, render_measurement
from initcheck.reports.style import Style

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

LONG = "encoder.blocks.11.feed_forward.projection_of_the_gate"


def layer(path: str, decades: float, *, is_wrong: bool = False, weighted: bool = True) -> MeasuredLayer:
    off = 0.5 if is_wrong else 0.0
    return MeasuredLayer(
        path=path,
        kind="linear" if weighted else "relu",
        width=48,
        weight=WeightRow("kaiming_uniform(a=√5)", 0.0, 0.0833, 1.8, exact=True) if weighted else None,
        predicted_state="ok",
        state="ok",
        length=Quantity(decades, decades + off, 0.0213, disagrees=is_wrong),
        signal=Quantity(3.0 * decades, 3.0 * decades + 0.011, 0.034),
        gradient=Quantity(None, -decades, 0.1),
    )


@pytest.fixture
def report() -> MeasurementReport:
    layers = [layer("embed", -0.4), layer("act", -0.7, weighted=False), layer(LONG, -12.35, is_wrong=True)]
    zero = replace(
        layer("zero", 0.0),
        predicted_state="zero",
        state="zero",
        length=Quantity(None, None, None, zeros=32),
        signal=Quantity(None, None, None, zeros=32),
        gradient=Quantity(None, None, None, nonfinite=32),
    )
    unknown = replace(layer("head", -1.0), state="unknown", length=Quantity(-1.0), gradient=Quantity())
    measurement = Measurement(
        target="pkg/models.py:build(depth=12)",
        source="torch",
        parameters=1_234_567,
        weighted_layers=4,
        initialisations=16,
        seeds=tuple(range(16)),
        samples=32,
        inputs="x float32[32, 48] (guessed from embed; values drawn)",
        layers=(*layers, zero, unknown),
        assumptions=("inputs: x float32[32, 48]",),
        notes=("traced by torch.export", "not measured, since no module returns it: head"),
    )
    return MeasurementReport("1.2.3", Plan(), measurement.target, "torch", measurement)


@pytest.fixture
def of_file(report: MeasurementReport) -> MeasurementReport:
    assert report.measurement is not None
    layers = [
        replace(
            each,
            length=replace(each.length, stored=-0.5),
            signal=replace(each.signal, stored=-1.5),
            gradient=Quantity(),
        )
        for each in report.measurement.layers
    ]
    measurement = replace(report.measurement, target="m.onnx", source="onnx", layers=tuple(layers), drawn=("w",))
    return replace(report, target="m.onnx", source="onnx", measurement=measurement)


@pytest.mark.parametrize("width", [45, 60, 100, 160])
def test_rich(width: int, report: MeasurementReport, snapshot: SnapshotAssertion) -> None:
    text = render_measurement("rich", report, Style(width=width))
    assert max(map(len, text.splitlines())) <= width
    # Names fold, they are never cut.
    assert LONG in "".join(line.strip() for line in text.splitlines())
    assert text == snapshot


@pytest.mark.parametrize("width", [60, 100])
def test_rich_of_a_file(width: int, of_file: MeasurementReport, snapshot: SnapshotAssertion) -> None:
    text = render_measurement("rich", of_file, Style(width=width))
    assert max(map(len, text.splitlines())) <= width
    assert "gradient" not in text.partition("log10 of")[0]
    assert text == snapshot


def test_a_mark_is_seen_with_and_without_color(report: MeasurementReport) -> None:
    plain = render_measurement("rich", report, Style(width=160))
    (marked,) = [line for line in plain.splitlines() if "*" in line and "marks" not in line]
    assert LONG in marked
    assert "-11.85±0.02*" in marked
    assert "\x1b" not in plain
    assert "\x1b[1;33m-11.85±0.02*" in render_measurement("rich", report, Style(width=160, color=True)).replace(" ", "")


def test_a_page_without_block_characters_is_ascii(report: MeasurementReport) -> None:
    assert report.measurement is not None
    named = replace(report.measurement, layers=tuple(replace(x, weight=None) for x in report.measurement.layers))
    for name in ("rich", "concise"):
        text = render_measurement(name, replace(report, measurement=named), Style(width=60, unicode=False))
        assert text.isascii()
        assert "+-" in text


def test_concise(report: MeasurementReport, of_file: MeasurementReport, snapshot: SnapshotAssertion) -> None:
    text = render_measurement("concise", report, Style(width=40))
    assert text.count("\n") == 5
    assert [line for line in text.splitlines() if "[differs: length]" in line] == [text.splitlines()[2]]
    assert text + render_measurement("concise", of_file, Style()) == snapshot


def schema() -> Any:
    return json.loads((files("initcheck.reports") / "schema" / "measure-v1.json").read_text(encoding="utf-8"))


def test_json_obeys_its_schema(
    report: MeasurementReport, of_file: MeasurementReport, snapshot: SnapshotAssertion
) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    error = TargetError("m.onnx", "damaged", "not an ONNX model", "export it again", "Traceback")
    failed = MeasurementReport("1.2.3", Plan(), "m.onnx", "", errors=(error,))
    for each in (report, of_file, failed):
        document = json.loads(render_measurement("json", each, Style()))
        jsonschema.validate(document, schema(), cls=jsonschema.Draft202012Validator)
        assert [model["status"] for model in document["models"]] == ["failed" if each is failed else "ok"]
    assert document["errors"][0]["message"] == "not an ONNX model"
    assert "details" not in document["errors"][0]
    assert render_measurement("json", report, Style()) == snapshot


def test_the_schema_demands_every_key_that_is_written(report: MeasurementReport) -> None:
    document = json.loads(render_measurement("json", report, Style()))
    model = document["models"][0]
    parts = {"layer": model["layers"][0], "quantity": model["layers"][0]["log10_signal"]}
    for name, part in parts.items():
        assert set(schema()["$defs"][name]["required"]) == set(part)
        assert set(schema()["$defs"][name]["properties"]) == set(part)
    assert set(schema()["$defs"]["model"]["properties"]) == set(model)
    assert set(schema()["properties"]) == set(schema()["required"]) == set(document)


@pytest.mark.parametrize("name", MEASUREMENT_FORMATS)
def test_without_a_measurement_there_is_nothing_to_show_but_json(name: str) -> None:
    text = render_measurement(name, MeasurementReport("1.2.3", Plan(), "m.onnx"), Style())
    assert bool(text) is (name == "json")
