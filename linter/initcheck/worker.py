"""The inside of a worker process: one target, whose code is foreign, and then the end."""

from __future__ import annotations

import faulthandler
import logging
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from multiprocessing import parent_process
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from initcheck.errors import InitcheckError
from initcheck.report import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection
    from types import FrameType

    from initcheck.settings import Settings
    from initcheck.targets import Target

__all__ = ["BEGUN", "Job", "Outcome", "Step", "Task", "work"]

BEGUN = b""
"""First message of a worker: it is up, and what goes wrong from now on is due to the target."""

ANALYSIS_MEMORY = 1 << 30
"""Bytes for everything but weights: traces, tables of the analysis, libraries that the user's code imports."""

Outcome: TypeAlias = Any
"""What a task makes of its target, or a ``TargetError``: plain values, which can be sent between processes."""


class Task(Protocol):
    """What is done to a target; sent to the worker by value."""

    @property
    def result(self) -> str:
        """What it gives, as messages call it when there is none: a verdict."""
        ...

    @property
    def modules(self) -> tuple[str, ...]:
        """Modules that it is made of, to be imported before the first worker is forked."""
        ...

    @property
    def is_bounded(self) -> bool:
        """Whether allocations beyond the memory bound must fail."""
        ...

    def __call__(self, target: Target, settings: Settings, step: Callable[[int, int], None], /) -> Outcome:
        """Do it; ``step(done, total)`` tells how far it has come.

        Raises:
            InitcheckError: If settings ask for something that does not exist for any target.
        """
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is sent.

    Attributes:
        target: The model.
        settings: How to read it, and the bounds of its code.
        task: What to do to it.
        folder: Current directory.
        environment: Environment variables.
    """

    target: Target
    settings: Settings
    task: Task
    folder: str
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """Message of a worker on its way: ``done`` of ``total`` parts."""

    done: int
    total: int


def work(connection: Connection, job: Job) -> None:
    """Do the task, send the outcome and end the process; nothing the target left behind is waited for."""
    _make_foreign_code_harmless(job)
    connection.send_bytes(BEGUN)
    sending = threading.Lock()

    def send(outcome: Outcome) -> None:
        with sending:
            connection.send_bytes(_pickled(outcome, job))
            sys.stderr.flush()
            os._exit(0)

    reached = Step(0, 0)

    def step(done: int, total: int) -> None:
        nonlocal reached
        reached = Step(done, total)
        with sending:
            connection.send_bytes(pickle.dumps(reached))

    main = threading.current_thread()
    watch = threading.Thread(target=_watch, args=(job, main, lambda: reached, send), daemon=True)
    watch.start()
    try:
        outcome = job.task(job.target, job.settings, step)
    except InitcheckError as error:
        outcome = TargetError(job.target.name, "usage", error.message, error.hint)
    send(outcome)


def _make_foreign_code_harmless(job: Job) -> None:
    """Bound what the user's code may do to the run: signals, standard output, warnings, memory."""
    # The parent stops its workers itself when Ctrl-C reaches it; a group of their own makes it reach their children.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(job.environment)
    os.chdir(job.folder)
    sys.path[:] = [folder for folder in sys.path if folder]
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    if job.settings.show_warnings:
        faulthandler.enable()
    else:
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
    if job.task.is_bounded:
        _bound_memory(job.settings.max_memory)


def _bound_memory(max_memory: int) -> None:
    """Let allocations fail beyond what a real build of the largest model allowed may need.

    The bound is on data (``RLIMIT_DATA``), not on the address space, of which torch maps many times what it uses.
    Initialisers need as much again as the tensor they fill (orthogonal ones factorise it). Where there is no such bound
    (not Linux), a model built for real is bounded by its size alone.
    """
    try:
        import resource

        used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5]) * resource.getpagesize()
    except (ImportError, OSError):
        return
    bound = used + 2 * max_memory + ANALYSIS_MEMORY
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if hard in {resource.RLIM_INFINITY, -1} or bound < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (bound, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _watch(job: Job, main: threading.Thread, reached: Callable[[], Step], send: Callable[[Outcome], None]) -> None:
    """End the process with its parent, and when its time is over; then say which line it was at."""
    parent = parent_process()
    if parent is None:
        return
    parent.join(job.settings.timeout)
    if not parent.is_alive():
        os._exit(1)
    place = _line_of(sys._current_frames().get(main.ident or 0), job)  # noqa: SLF001 - the documented way to see it
    step = reached()
    far = f", {step.done} of {step.total} done" if step.total else ""
    message = f"no {job.task.result} within {job.settings.timeout:g} s{far}{place}"
    send(TargetError(job.target.name, "timeout", message, "--timeout allows longer"))


def _line_of(frame: FrameType | None, job: Job) -> str:
    from initcheck.sources.torch.blame import frame_line

    place = frame_line(frame, Path(job.settings.app_dir or ".").resolve())
    return f", last seen at {place}" if place else ""


def _pickled(outcome: Outcome, job: Job) -> bytes:
    """Outcome and CPU seconds, as the parent reads them."""
    try:
        return pickle.dumps((outcome, time.process_time()))
    except Exception as error:  # noqa: BLE001 - evidence of a rule from elsewhere may be of any type
        message = f"internal error: the {job.task.result} cannot be sent: {type(error).__name__}: {error}"
        error_of_rule = TargetError(
            job.target.name, "internal", message, "a rule must put JSON values only into evidence"
        )
        return pickle.dumps((error_of_rule, time.process_time()))
