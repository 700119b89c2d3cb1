from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import jsonschema

from initcheck.reports import render
from initcheck.reports.style import Style

if TYPE_CHECKING:
    from syrupy.assertion import SnapshotAssertion

    from initcheck import Report

KEYS = {
    "document": ["version", "tool", "models", "findings", "errors"],
    "model": [
        "target",
        "source",
        "status",
        "verdict",
        "parameters",
        "weighted_layers",
        "analysed_layers",
        "summary",
        "layers",
    ],
    "summary": [
        "log10_signal_gain",
        "log10_length_gain",
        "log10_residual_growth",
        "beta",
        "log10_gradient_ratio",
        "residual_blocks",
    ],
    "layer": [
        "path",
        "kind",
        "fan_in",
        "fan_out",
        "width",
        "weight",
        "log10_mean_square",
        "log10_mean_square_expected",
        "log10_signal",
        "log10_gradient_mean_square",
        "log_length_variance",
        "uncertainty",
        "state",
        "assumed",
        "location",
    ],
    "finding": [
        "target",
        "code",
        "name",
        "severity",
        "failure_mode",
        "message",
        "cause",
        "help",
        "layers",
        "location",
        "evidence",
        "url",
    ],
    "error": ["target", "kind", "message", "hint"],
}


def schema() -> Any:
    return json.loads((files("initcheck.reports") / "schema" / "report-v1.json").read_text(encoding="utf-8"))


def _document(report: Report) -> Any:
    return json.loads(render("json", report, Style()))


def test_json(report: Report, snapshot: SnapshotAssertion) -> None:
    assert render("json", report, Style()) == snapshot


def test_the_schema_is_a_schema_and_the_document_obeys_it(report: Report) -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    jsonschema.validate(_document(report), schema(), cls=jsonschema.Draft202012Validator)


def test_keys_stand_in_the_order_of_the_contract_and_additions_come_after(report: Report) -> None:
    document = _document(report)
    model = document["models"][0]
    parts = {
        "document": document,
        "model": model,
        "summary": model["summary"],
        "layer": model["layers"][0],
        "finding": document["findings"][0],
        "error": document["errors"][0],
    }
    for part, keys in KEYS.items():
        assert list(parts[part])[: len(keys)] == keys


def test_what_is_not_finite_is_null(report: Report) -> None:
    document = _document(report)
    zero = document["models"][0]["layers"][-1]
    assert zero["log10_mean_square"] is None
    assert zero["log10_signal"] is None
    assert zero["state"] == "zero"
    assert document["findings"][0]["evidence"]["ratio"] is None


def test_a_target_without_a_verdict_is_a_failed_model_and_an_error(report: Report) -> None:
    document = _document(report)
    assert [model["status"] for model in document["models"]] == ["ok", "ok", "failed"]
    assert [model["verdict"] for model in document["models"]] == ["error", "ok", "error"]
    assert document["errors"][0]["target"] == "models/broken.onnx"
