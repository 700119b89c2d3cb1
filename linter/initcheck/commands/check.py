"""``initcheck check TARGET...``: lint models."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from initcheck.commands.exit_code import exit_code
from initcheck.commands.output import log_errors, plural, write_outputs
from initcheck.commands.parse import choice, count, dims, duration, outputs, severities, shapes, size, words
from initcheck.commands.progress import ProgressBar
from initcheck.commands.terminal import COLORS, log, one_line
from initcheck.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from initcheck.report import Report
    from initcheck.rule import Severity

__all__ = ["check"]

LEVELS = ("error", "warning", "note")
OPTIMIZERS = ("sgd", "adam")
DTYPES = ("float16", "bfloat16")


def check(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET",
            help=".onnx or .pt2 files, directories, patterns; PyTorch: pkg.models:build, models.py:build(depth=50).",
            show_default=False,
        ),
    ] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "-f",
            "--format",
            metavar="FMT[=FILE]",
            help="rich (default on a terminal), concise (default otherwise) or json. Repeatable.",
        ),
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option(
            "--select",
            metavar="RULES",
            help="Run only these codes, prefixes or names, comma separated; ALL. Repeatable.",
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option("--ignore", metavar="RULES", help="Leave these out, in the same form. Repeatable."),
    ] = None,
    severity: Annotated[
        list[str] | None,
        typer.Option("--severity", metavar="RULE=LEVEL", help="error, warning, note or off for one rule. Repeatable."),
    ] = None,
    fail_on: Annotated[
        str,
        typer.Option(
            "--fail-on", metavar="LEVEL", help="Exit with 1 from this severity on: error, warning, note or never."
        ),
    ] = "error",
    optimizer: Annotated[
        str,
        typer.Option("--optimizer", metavar="NAME", help="Trainer that the bounds assume: sgd (the stricter) or adam."),
    ] = "sgd",
    assume_init: Annotated[
        str,
        typer.Option(
            "--assume-init",
            metavar="SCHEME",
            help="Judge as if every weight were drawn by this scheme.",
            show_default=False,
        ),
    ] = "",
    dtype: Annotated[
        str,
        typer.Option(
            "--dtype",
            metavar="TYPE",
            help="Judge the range of activations as in float16 or bfloat16 training.",
            show_default="what the model declares",
        ),
    ] = "",
    strict: Annotated[bool, typer.Option("--strict", help="A layer that could not be analysed is an error.")] = False,
    input_shape: Annotated[
        list[str] | None,
        typer.Option(
            "--input-shape",
            metavar="NAME=SIZES[:TYPE]",
            help="Shape of an input, as x=1,3,224,224 or ids=2,128:int64. Repeatable.",
        ),
    ] = None,
    dim: Annotated[
        list[str] | None,
        typer.Option(
            "--dim", metavar="NAME=SIZE", help="Sizes of symbolic dimensions, as batch=8,seq=128. Repeatable."
        ),
    ] = None,
    app_dir: Annotated[
        str,
        typer.Option(
            "--app-dir",
            metavar="DIR",
            help="Folder that pkg.models:build is imported from; the current one when left out.",
            show_default=False,
        ),
    ] = "",
    jobs: Annotated[
        str, typer.Option("--jobs", metavar="N", help="PyTorch models at a time.", show_default="processors, at most 4")
    ] = "",
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="SECONDS", help="Time that one PyTorch model may take.")
    ] = "300",
    max_memory: Annotated[
        str,
        typer.Option(
            "--max-memory",
            metavar="BYTES",
            help="Weights that one PyTorch model may have where it must be built for real; 500MB, 2GB, ...",
        ),
    ] = "2GB",
    color: Annotated[str, typer.Option("--color", metavar="WHEN", help="auto, always or never.")] = "auto",
    no_progress: Annotated[bool, typer.Option("--no-progress", help="Never draw a progress bar.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print findings and errors only.")] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "-v", "--verbose", help="Add cause and help to concise lines, skipped rules, timings, tracebacks."
        ),
    ] = False,
) -> int:
    """Lint models: can training start? `initcheck model.onnx` means `initcheck check model.onnx`."""
    if not targets:
        raise UsageError("no target given", "name a .onnx file, a directory or a pattern: initcheck model.onnx")
    where = outputs(formats or (), "rich" if sys.stdout.isatty() else "concise")
    limit = choice("--fail-on", fail_on, (*LEVELS, "never"))
    choice("--color", color, COLORS)
    trainer = choice("--optimizer", optimizer, OPTIMIZERS)
    half = choice("--dtype", dtype, DTYPES) if dtype else ""
    levels, fixed = severities(severity or ()), dims(dim or ())
    sizes, types = shapes(input_shape or ())
    at_once, seconds, bound = (
        count("--jobs", jobs or "0"),
        duration("--timeout", timeout),
        size("--max-memory", max_memory),
    )

    # OpenBLAS would start a thread per core and let it spin, which costs a small model a quarter of its time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from initcheck.analysis import Optimizer
    from initcheck.pipeline import check as run
    from initcheck.reports import render
    from initcheck.rule import Severity
    from initcheck.settings import Settings

    settings = Settings(
        select=words(select or ()),
        ignore=words(ignore or ()),
        severity=levels,
        optimizer=Optimizer(trainer),
        assume_init=assume_init,
        dtype=half,
        strict=strict,
        shapes=sizes,
        dtypes=types,
        dims=fixed,
        app_dir=app_dir,
        jobs=at_once,
        timeout=seconds,
        max_memory=bound,
        show_warnings=verbose,
    )
    with ProgressBar(visible=not (no_progress or quiet)) as bar:
        report = run(targets, settings, watcher=bar)
    write_outputs(where, lambda name, style: render(name, report, style), color, verbose=verbose)
    log_errors(report.errors, verbose=verbose)
    if not quiet:
        _log_notes(report, bar.seconds, verbose=verbose)
    fatal: Severity | None = None if limit == "never" else Severity(limit)
    return exit_code(report, fatal)


def _log_notes(report: Report, seconds: Mapping[str, float], *, verbose: bool) -> None:
    """Closing summary; before it, with -v, what was assumed, which rules could not run, and what each model took."""
    from initcheck.reports.skipped import skipped_sentences

    for model in report.models if verbose else ():
        for sentence in (*model.assumptions, *model.notes):
            log(one_line(f"note: {model.target}: {sentence}"))
        for sentence in skipped_sentences(model):
            log(one_line(f"note: {model.target}: {sentence}"))
        log(f"note: {model.target}: {seconds.get(model.target, 0.0):.2f} s CPU")
    in_workers = sum(seconds.get(model.target, 0.0) for model in report.models if model.source == "torch")
    timing = f" ({time.process_time() + in_workers:.2f} s CPU)" if verbose else ""
    log(f"{_summary(report)}{timing}")


def _summary(report: Report) -> str:
    count = [item.finding.severity.value for item in report.findings].count
    parts = [plural(sum(model.status == "ok" for model in report.models), "model")]
    parts += [plural(count(level), level) for level in LEVELS]
    if report.errors:
        parts.append(f"{plural(len(report.errors), 'target')} without a verdict")
    return ", ".join(parts)
