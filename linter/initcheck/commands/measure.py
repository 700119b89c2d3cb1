"""``initcheck measure TARGET``: run a model beside its prediction."""

from __future__ import annotations

import os
import re
import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from initcheck.commands.exit_code import ExitCode
from initcheck.commands.output import log_errors, plural, write_outputs
from initcheck.commands.parse import choice, count, dims, duration, outputs, shapes, size
from initcheck.commands.progress import ProgressBar
from initcheck.commands.terminal import log, one_line
from initcheck.errors import UsageError

if TYPE_CHECKING:
    from initcheck.measurement import MeasurementReport

__all__ = ["measure"]

DEVICE = re.compile(r"cpu|mps|cuda(:\d+)?")
MOST_REPEATS = 10_000
LARGEST_SEED = 2**32 - 1 - MOST_REPEATS
"""Numpy's generator takes seeds of 32 bits."""


def measure(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="One .onnx file, or PyTorch: pkg.models:build, models.py:build(depth=50).",
            show_default=False,
        ),
    ] = "",
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "-f",
            "--format",
            metavar="FMT[=FILE]",
            help="rich (default on a terminal), concise (default otherwise) or json. Repeatable.",
        ),
    ] = None,
    repeats: Annotated[
        str, typer.Option("--repeats", metavar="N", help="Initialisations to measure, all on one batch.")
    ] = "16",
    seed: Annotated[
        str, typer.Option("--seed", metavar="N", help="Seed of the first initialisation; the others count on from it.")
    ] = "0",
    device: Annotated[
        str, typer.Option("--device", metavar="NAME", help="Where PyTorch models run: cpu, cuda:0, mps, ...")
    ] = "cpu",
    input_shape: Annotated[
        list[str] | None,
        typer.Option(
            "--input-shape",
            metavar="NAME=SIZES[:TYPE]",
            help="Shape of an input, as x=32,3,224,224 or ids=32,128:int64. Repeatable.",
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
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="SECONDS", help="Time that prediction and measurement may take.")
    ] = "300",
    max_memory: Annotated[
        str,
        typer.Option("--max-memory", metavar="BYTES", help="Weights that the model may have; 500MB, 2GB, ..."),
    ] = "2GB",
    color: Annotated[str, typer.Option("--color", metavar="WHEN", help="auto, always or never.")] = "auto",
    no_progress: Annotated[bool, typer.Option("--no-progress", help="Never draw a progress bar.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Print the measurement and errors only.")] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Add notes to the concise format, timings, warnings, tracebacks.")
    ] = False,
) -> int:
    """Run a model: real forward and backward passes of several initialisations beside the prediction.

    Exit codes: 0 measured, whether or not prediction and measurement agree; 2 no measurement.
    """
    from initcheck.reports import MEASUREMENT_FORMATS, render_measurement

    if not target:
        raise UsageError("no target given", "name a model: initcheck measure pkg.models:build")
    where = outputs(formats or (), "rich" if sys.stdout.isatty() else "concise", MEASUREMENT_FORMATS)
    choice("--color", color, ("auto", "always", "never"))
    if not DEVICE.fullmatch(device):
        raise UsageError(f"--device: {device!r} is no device", "for example cpu, cuda:0, mps")
    times = _count_up_to("--repeats", repeats, MOST_REPEATS)
    if not times:
        raise UsageError("--repeats: nothing is measured without an initialisation", "for example --repeats 16")
    first = _count_up_to("--seed", seed, LARGEST_SEED)
    sizes, types = shapes(input_shape or ())
    fixed, seconds, bound = dims(dim or ()), duration("--timeout", timeout), size("--max-memory", max_memory)

    # As for check: OpenBLAS would let a thread per core spin.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from initcheck.measurement import Plan
    from initcheck.pipeline import measure as run
    from initcheck.settings import Settings

    settings = Settings(
        shapes=sizes,
        dtypes=types,
        dims=fixed,
        app_dir=app_dir,
        timeout=seconds,
        max_memory=bound,
        show_warnings=verbose,
    )
    with ProgressBar(visible=not (no_progress or quiet)) as bar:
        report = run(target, settings, Plan(times, first, device), watcher=bar)
    write_outputs(where, lambda name, style: render_measurement(name, report, style), color, verbose=verbose)
    log_errors(report.errors, verbose=verbose)
    if not quiet:
        _log_notes(report, bar.seconds.get(report.target, 0.0), verbose=verbose)
    return ExitCode.OK if report.measurement else ExitCode.NO_VERDICT


def _count_up_to(option: str, value: str, largest: int) -> int:
    number = count(option, value)
    if number > largest:
        raise UsageError(f"{option}: {value} is more than {largest}", f"for example {option} 16")
    return number


def _log_notes(report: MeasurementReport, seconds: float, *, verbose: bool) -> None:
    measurement = report.measurement
    if measurement is None:
        return
    for sentence in (*measurement.assumptions, *measurement.notes) if verbose else ():
        log(one_line(f"note: {measurement.target}: {sentence}"))
    timing = f" ({time.process_time() + seconds:.2f} s CPU)" if verbose else ""
    layers, times = plural(measurement.measured, "layer"), plural(measurement.initialisations, "initialisation")
    log(f"{layers} measured over {times}, {measurement.disagreeing} not as predicted{timing}")
