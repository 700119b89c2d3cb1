"""The corpus of measured labels: initcheck and the baselines, with their own bounds and with held-out ones."""

from __future__ import annotations

import copy
import json
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from baselines import BASELINES, Suspicion, suspicions
from corpus import load_cases
from held_out import Example, Fit, held_out
from judging import MODES, RULES, Judged, judge, load_torch, modes_of, shipped
from scores import COLUMNS, HEADING, Flag, score

from initcheck import Optimizer, Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

TRAINER = {column: Optimizer.ADAM if column == "label_adam" else Optimizer.SGD for column in COLUMNS}

SHOWN = 0.5
"""Judged quantities from here on are listed with a case."""


@dataclass(frozen=True)
class Case:
    """What all checks say of one case."""

    judged: Mapping[Optimizer, Judged]
    suspicions: Mapping[str, Suspicion]


def run_corpus(folder: Path, names: Sequence[str]) -> int:
    rows = json.loads((folder / "manifest.json").read_text())["cases"]
    rows = [row for row in rows if not names or row["id"] in names]
    start = time.process_time()
    cases, failures = _examine(folder, rows)
    print(f"{len(cases)} of {len(rows)} cases analysed, {time.process_time() - start:.0f} CPU s")
    for name, reason in failures.items():
        print(f"  no verdict: {name}: {reason}")
    flags = _flags(cases)
    fits: dict[str, dict[str, Mapping[str, Fit]]] = {}
    for name, (held, found) in _held_out(cases, rows).items():
        flags[name] = held
        fits[name] = found
    _print_table(flags, rows)
    for check in ("initcheck", "initcheck, held-out"):
        _print_errors(check, flags[check], rows)
    _print_bounds(fits["initcheck, held-out"])
    return 0


def _examine(folder: Path, rows: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Case], dict[str, str]]:
    factories = load_cases(folder)
    cases: dict[str, Case] = {}
    failures: dict[str, str] = {}
    for row in rows:
        factory = getattr(factories, row["id"])
        loaded = load_torch(factory, folder)
        if loaded.analysis is None:
            failures[row["id"]] = loaded.failure
            continue
        judged = {trainer: judge(loaded.analysis, trainer, quantities=True) for trainer in Optimizer}
        if failure := next((one.failure for one in judged.values() if one.failure), ""):
            failures[row["id"]] = failure
            continue
        torch.manual_seed(0)
        module = factory()
        cases[row["id"]] = Case(
            judged,
            suspicions(loaded.analysis, module, copy.copy(module.example_input)),
        )
    return cases, failures


def _flags(cases: Mapping[str, Case]) -> dict[str, dict[str, dict[str, Flag]]]:
    """Check -> column -> case -> flag, each check with its own bounds."""
    flags: dict[str, dict[str, dict[str, Flag]]] = {
        "initcheck": {
            column: {name: _flag(case.judged[trainer]) for name, case in cases.items()}
            for column, trainer in TRAINER.items()
        },
        "initcheck, errors only": {
            column: {name: _flag(case.judged[trainer], Severity.ERROR) for name, case in cases.items()}
            for column, trainer in TRAINER.items()
        },
        "initcheck, bounds for SGD": {
            "label_adam": {name: _flag(case.judged[Optimizer.SGD]) for name, case in cases.items()}
        },
    }
    for check, bounds in BASELINES.items():
        flagged = {name: _suspected(case.suspicions[check], bounds) for name, case in cases.items()}
        flags[check] = dict.fromkeys(COLUMNS, flagged)
    return flags


def _flag(judged: Judged, severity: Severity = Severity.WARNING) -> Flag:
    loud = judged.loud(severity)
    return Flag(bool(loud), modes_of(loud), [finding.code for finding in loud])


def _suspected(suspicion: Suspicion, bounds: Mapping[str, float]) -> Flag:
    named = [name for name, bound in bounds.items() if suspicion.values[name] >= bound]
    return Flag(bool(named), {suspicion.modes[name] for name in named}, named)


def _held_out(
    cases: Mapping[str, Case], rows: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[dict[str, dict[str, Flag]], dict[str, Mapping[str, Fit]]]]:
    """Check -> (flags per column, bounds per column and family left out)."""
    checks: dict[str, tuple[dict[str, dict[str, Flag]], dict[str, Mapping[str, Fit]]]] = {}
    for check in ("initcheck", *BASELINES):
        for depends in (False, True) if check == "initcheck" else (False,):
            flags: dict[str, dict[str, Flag]] = {}
            fits: dict[str, Mapping[str, Fit]] = {}
            for column in COLUMNS:
                known = BASELINES.get(check) or shipped(TRAINER[column])
                fallback = dict.fromkeys(known, float("inf")) if depends else known
                examples = [
                    _example(row, cases[row["id"]], check, column)
                    for row in rows
                    if row[column] in {"good", "bad"} and row["id"] in cases
                ]
                fits[column] = held_out(examples, fallback)
                flags[column] = {
                    example.name: _held_flag(example, fits[column][example.family], cases[example.name], check, column)
                    for example in examples
                }
            checks[f"{check}, held-out{', no fallback' if depends else ''}"] = (flags, fits)
    return checks


def _example(row: Mapping[str, Any], case: Case, check: str, column: str) -> Example:
    if check in BASELINES:
        values, certain = case.suspicions[check].values, False
    else:
        judged = case.judged[TRAINER[column]]
        values, certain = judged.values, bool(judged.unconditional)
    return Example(row["id"], row["family"], row[column] == "bad", values, certain)


def _held_flag(example: Example, fit: Fit, case: Case, check: str, column: str) -> Flag:
    """Codes are followed by the values that were judged, since the bounds are not those of the findings."""
    reached = example.reached(fit.bounds)
    if check in BASELINES:
        return Flag(bool(reached), {case.suspicions[check].modes[name] for name in reached}, reached)
    judged = case.judged[TRAINER[column]]
    codes = {*judged.unconditional, *(name.partition(".")[0] for name in reached)}
    modes = modes_of(finding for finding in judged.findings if finding.code in codes)
    modes |= {MODES.get(rule.failure_mode, str(rule.failure_mode)) for rule in RULES if rule.code in codes}
    shown = [f"{name} {value:.3g}" for name, value in judged.values.items() if value > SHOWN]
    return Flag(example.flagged(fit.bounds), modes, [*judged.unconditional, *shown])


def _balance(column: str, rows: Sequence[Mapping[str, Any]]) -> str:
    count = Counter(row[column] for row in rows)
    return f"{count['bad']} bad, {count['good']} good"


def _print_table(flags: Mapping[str, Mapping[str, Mapping[str, Flag]]], rows: Sequence[Mapping[str, Any]]) -> None:
    print()
    print(f"{'':42}" + "".join(f"{column:^26}" for column in COLUMNS))
    print(f"{'':42}" + "".join(f"{_balance(column, rows):^26}" for column in COLUMNS))
    print(f"{'check':42}" + "".join(f"{HEADING:<26}" for _ in COLUMNS))
    for check, by_column in flags.items():
        cells = [str(score(by_column[c], rows, c)) if c in by_column else "" for c in COLUMNS]
        print(f"{check:42}" + "".join(f"{cell:<26}" for cell in cells))


def _print_errors(check: str, flags: Mapping[str, Mapping[str, Flag]], rows: Sequence[Mapping[str, Any]]) -> None:
    families = {row["id"]: row["family"] for row in rows}
    for column in COLUMNS:
        result = score(flags[column], rows, column)
        print(f"\n{check}, {column}: {len(result.misses)} misses, {len(result.alarms)} false alarms")
        for kind, names in (("miss", result.misses), ("false alarm", result.alarms)):
            for name in names:
                codes = " ".join(flags[column].get(name, Flag(flagged=False)).codes)
                print(f"  {kind:11} {name:32} {families[name]:15} {codes}")


def _print_bounds(fits: Mapping[str, Mapping[str, Fit]]) -> None:
    print(
        "\nbounds over the families left out (median, lowest to highest; how often not determined, so the shipped one)"
    )
    for column, by_family in fits.items():
        names = next(iter(by_family.values())).bounds
        for name in names:
            bounds = sorted(fit.bounds[name] for fit in by_family.values())
            free = sum(name in fit.undetermined for fit in by_family.values())
            own = shipped(TRAINER[column])[name]
            middle = bounds[len(bounds) // 2]
            print(
                f"  {column:12} {name:16} {middle:6.2f} ({bounds[0]:.2f} to {bounds[-1]:.2f}), shipped {own:g}, "
                f"not determined {free} of {len(bounds)}"
            )
