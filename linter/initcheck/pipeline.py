"""Targets in, report out: the only module that sees every stage."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from importlib.util import find_spec
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from initcheck import __version__
from initcheck.errors import UsageError
from initcheck.examine import Check, examine
from initcheck.measure import Measure
from initcheck.measurement import Measurement, MeasurementReport, Plan
from initcheck.plugins import load_rules
from initcheck.report import ModelReport, Report, ReportedFinding, TargetError
from initcheck.selection import select_rules
from initcheck.settings import Settings
from initcheck.targets import Target, find_targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from initcheck.examine import Outcome
    from initcheck.rule import Rule
    from initcheck.worker import Job, Step, Task

__all__ = ["Watcher", "check", "measure"]


class Watcher(Protocol):
    """Hears how far a run has come."""

    def started(self, target: str, index: int, total: int) -> None:
        """A target begins; ``index`` of ``total`` targets have ended."""
        ...

    def stepped(self, target: str, done: int, total: int) -> None:
        """``done`` of the ``total`` parts of a target are through."""
        ...

    def ended(self, target: str, seconds: float) -> None:
        """A target is through, and took so many seconds of a processor."""
        ...


def check(
    targets: str | PathLike[str] | Iterable[str | PathLike[str]],
    settings: Settings | None = None,
    *,
    rules: Sequence[Rule] | None = None,
    watcher: Watcher | None = None,
) -> Report:
    """Lint models.

    Args:
        targets: Files, directories, patterns, or import strings as ``pkg.models:build``.
        settings: How to judge; the defaults of the command line when left out.
        rules: Rules to choose from; the installed ones when left out.
        watcher: Hears how far the run has come.

    Raises:
        UsageError: If settings name a rule or a scheme that does not exist.
        PluginError: If the installed rules do not load.

    A target that gives no verdict is an entry of ``Report.errors``; the others go on.
    """
    settings = settings or Settings()
    words = [targets] if isinstance(targets, str | PathLike) else list(targets)
    installed = load_rules() if rules is None else tuple(rules)
    selection = select_rules(
        installed, select=settings.select, ignore=settings.ignore, severity=settings.severity, strict=settings.strict
    )
    found = find_targets((fspath(word) for word in words), settings.app_dir)
    models: list[ModelReport] = []
    findings: list[ReportedFinding] = []
    errors: list[TargetError] = []
    targeted = [item for item in found if isinstance(item, Target)]
    outcomes = iter(_outcomes(targeted, settings, Check(selection, installed), watcher))
    for item in found:
        if isinstance(item, TargetError):
            errors.append(item)
            continue
        outcome = next(outcomes)
        if isinstance(outcome, TargetError):
            errors.append(outcome)
            models.append(ModelReport(item.name, item.source, "failed"))
        else:
            models.append(outcome[0])
            findings.extend(ReportedFinding(item.name, finding) for finding in outcome[1])
    errors.extend(_without_weights(models))
    return Report(__version__, tuple(models), tuple(findings), tuple(errors))


def measure(
    target: str | PathLike[str],
    settings: Settings | None = None,
    plan: Plan | None = None,
    *,
    watcher: Watcher | None = None,
) -> MeasurementReport:
    """Predict one model, and run it beside the prediction.

    Args:
        target: A file, or an import string as ``pkg.models:build``.
        settings: How to read the model; the rules play no part.
        plan: How often to initialise it, and where to run it.
        watcher: Hears how far the run has come.

    Raises:
        UsageError: If the target stands for several models.

    Without a measurement ``MeasurementReport.errors`` says why.
    """
    settings, plan = settings or Settings(), plan or Plan()
    word = fspath(target)
    found = find_targets((word,), settings.app_dir)
    if len(found) > 1:
        raise UsageError(f"measure runs one model, and {word} names {len(found)}", "name one of its files")
    (item,) = found
    if isinstance(item, TargetError):
        return MeasurementReport(__version__, plan, word, errors=(item,))
    outcome = _measured(item, settings, Measure(plan), watcher)
    if isinstance(outcome, TargetError):
        return MeasurementReport(__version__, plan, item.name, item.source, errors=(outcome,))
    return MeasurementReport(__version__, plan, item.name, item.source, outcome)


def _measured(target: Target, settings: Settings, task: Measure, watcher: Watcher | None) -> Measurement | TargetError:
    """In a process of its own also for a file: what runs may hang, or take any amount of memory."""
    if target.source == "torch" and find_spec("torch") is None:
        return _without_torch(target)
    from initcheck.workers import run_all

    def stepped(_: Job, step: Step) -> None:
        if watcher:
            watcher.stepped(target.name, step.done, step.total)

    if watcher:
        watcher.started(target.name, 0, 1)
    outcome: Measurement | TargetError
    ((_, outcome, seconds),) = run_all([_job(target, settings, task)], at_once=1, stepped=stepped)
    if watcher:
        watcher.ended(target.name, seconds)
    return outcome


def _job(target: Target, settings: Settings, task: Task) -> Job:
    from initcheck.worker import Job

    return Job(target, settings, task, str(Path.cwd()), dict(os.environ))


def _outcomes(targets: Sequence[Target], settings: Settings, task: Check, watcher: Watcher | None) -> list[Outcome]:
    """What became of each target: those of PyTorch in processes of their own, ONNX files here, one after another."""
    outcomes: dict[int, Outcome] = {}

    def started(target: Target) -> None:
        if watcher:
            watcher.started(target.name, len(outcomes), len(targets))

    def ended(at: int, outcome: Outcome, seconds: float) -> None:
        outcomes[at] = outcome
        if watcher:
            watcher.ended(targets[at].name, seconds)

    foreign = [at for at, target in enumerate(targets) if target.source == "torch"]
    if foreign and find_spec("torch") is None:
        outcomes.update({at: _without_torch(targets[at]) for at in foreign})
    elif foreign:
        from initcheck.workers import default_jobs, run_all

        jobs = [_job(targets[at], settings, task) for at in foreign]
        at_once = settings.jobs or default_jobs()
        for index, outcome, seconds in run_all(jobs, at_once=at_once, started=lambda job: started(job.target)):
            ended(foreign[index], outcome, seconds)
    for at, target in enumerate(targets):
        if target.source == "onnx":
            started(target)
            begin = time.process_time()
            outcome = examine(target, settings, task.selection, task.rules)
            ended(at, outcome, time.process_time() - begin)
    return [outcomes[at] for at in range(len(targets))]


def _without_torch(target: Target) -> TargetError:
    hint = 'install it with pip install "initcheck[torch]", into the environment of the model'
    return TargetError(target.name, "no-torch", "PyTorch is not installed beside initcheck", hint)


def _without_weights(models: list[ModelReport]) -> list[TargetError]:
    """Say where there was nothing to judge: an error when no target has a weighted layer, else a note on the model."""
    empty = [at for at, model in enumerate(models) if model.status == "ok" and model.weighted_layers == 0]
    if any(model.weighted_layers for model in models):
        for at in empty:
            note = "no weighted layer: nothing to judge"
            models[at] = replace(models[at], notes=(*models[at].notes, note))
        return []
    hint = "name a model that owns weights; a graph without weights has no initialisation"
    return [TargetError(models[at].target, "no-weights", "no weighted layer in this graph", hint) for at in empty]
