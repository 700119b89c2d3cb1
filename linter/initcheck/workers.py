"""Targets whose code is foreign, each in a process of its own.

On Linux the processes are forked from a server that has imported torch and nothing of the user's, so that one target
cannot spoil the next, and a second one does not pay for the import again. Elsewhere forking is absent or unsafe once
torch is loaded, and each process imports it itself.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from initcheck.processors import usable_processors
from initcheck.report import TargetError
from initcheck.worker import BEGUN, Job, Step, work

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from initcheck.worker import Outcome

__all__ = ["default_jobs", "run_all"]

PRELOADED = (
    "initcheck.cli",
    "initcheck.worker",
    "initcheck.sources.torch.target",
    "torch._dynamo",
    "torch.export._trace",
)
"""What the server imports beside the modules of the tasks.

A name that a version of torch lacks is passed over; the last two are what the first export imports, seconds that every
worker would pay again.
"""

SERVER_ENVIRONMENT = {"PYTHONSAFEPATH": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

MOST_JOBS = 4
"""Workers at a time unless told otherwise: each may take the whole memory bound."""

GRACE = 2.0
"""Seconds beyond its time in which a worker may say where it stood."""


def default_jobs() -> int:
    """One worker per processor that this process may use, within reason."""
    return min(usable_processors(), MOST_JOBS)


def run_all(
    jobs: Sequence[Job],
    *,
    at_once: int,
    started: Callable[[Job], None] | None = None,
    stepped: Callable[[Job, Step], None] | None = None,
) -> Iterator[tuple[int, Outcome, float]]:
    """Run every job and yield ``(index, outcome, CPU seconds)`` as they end.

    What still runs is killed when the caller stops.

    Args:
        jobs: Targets with what a worker needs.
        at_once: Processes at a time.
        started: Hears of every job that begins.
        stepped: Hears of every step of a job on its way.
    """
    context = _context(sorted({name for job in jobs for name in _preloaded(job)}))
    waiting = deque(enumerate(jobs))
    running: list[_Worker] = []
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                index, job = waiting.popleft()
                if started:
                    started(job)
                running.append(_start(context, index, job, stepped))
            for worker in _wait(running):
                running.remove(worker)
                yield worker.index, worker.end(), worker.seconds
    finally:
        for worker in running:
            worker.kill()


@dataclass(slots=True, eq=False)
class _Worker:
    """A process, seen from outside."""

    index: int
    job: Job
    process: BaseProcess
    connection: Connection
    deadline: float
    stepped: Callable[[Job, Step], None] | None = None
    begun: bool = False
    outcome: Outcome | None = None
    seconds: float = 0.0

    def is_over(self) -> bool:
        """Read what has arrived; whether the worker has an outcome, has died, or is late."""
        alive = self.process.is_alive()
        try:
            while self.outcome is None and self.connection.poll():
                message = self.connection.recv_bytes()
                if message == BEGUN:
                    self.begun = True
                    continue
                told = pickle.loads(message)
                if not isinstance(told, Step):
                    self.outcome, self.seconds = told
                elif self.stepped:
                    self.stepped(self.job, told)
        except (EOFError, OSError):
            return True
        return self.outcome is not None or not alive or time.monotonic() > self.deadline

    def end(self) -> Outcome:
        """Its outcome, or what became of it."""
        late = self.outcome is None and time.monotonic() > self.deadline
        if not late:
            self.process.join(GRACE)
        code = self.process.exitcode
        self.kill()
        if self.outcome is not None:
            return self.outcome
        return _late(self.job) if late else _died(self.job, code, begun=self.begun)

    def kill(self) -> None:
        """End the process and the processes that it started."""
        if hasattr(os, "killpg") and self.process.pid:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.kill()
        self.process.join()
        self.process.close()
        self.connection.close()


def _preloaded(job: Job) -> tuple[str, ...]:
    """What a worker should find imported; nothing for a file, which needs no more than it imports itself."""
    return (*PRELOADED, *job.task.modules) if job.target.source == "torch" else ()


def _context(modules: Sequence[str]) -> Any:
    """How processes are started: forked from a server that has imported the modules, or fresh where there are none."""
    if sys.platform != "linux" or not modules:
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    return context


def _start(context: Any, index: int, job: Job, stepped: Callable[[Job, Step], None] | None) -> _Worker:
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(theirs, job), name=f"initcheck {job.target.name}", daemon=False)
    with theirs, _environment_of_server():
        process.start()
    deadline = time.monotonic() + job.settings.timeout + GRACE
    return _Worker(index, job, process, ours, deadline, stepped)


@contextmanager
def _environment_of_server() -> Iterator[None]:
    """Set what the server must start with; workers get the variables of this process back.

    The current directory stays off its path (a ``random.py`` there is for the worker only), and no library starts
    threads, which forking would lose.
    """
    before = dict(os.environ)
    os.environ.update(SERVER_ENVIRONMENT)
    try:
        yield
    finally:
        for name in SERVER_ENVIRONMENT:
            del os.environ[name]
        os.environ.update(before)


def _wait(running: list[_Worker]) -> list[_Worker]:
    """Sleep until something happens; the workers that are over."""
    remaining = min(worker.deadline for worker in running) - time.monotonic()
    wait([item for worker in running for item in (worker.connection, worker.process.sentinel)], max(remaining, 0.0))
    return [worker for worker in running if worker.is_over()]


def _late(job: Job) -> TargetError:
    message = f"no {job.task.result} within {job.settings.timeout:g} s"
    return TargetError(job.target.name, "timeout", message, "--timeout allows longer")


def _died(job: Job, code: int | None, *, begun: bool) -> TargetError:
    if not begun:
        hint = 'a script that calls initcheck.check needs `if __name__ == "__main__":` around it'
        return TargetError(job.target.name, "worker", f"the worker process did not start (exit code {code})", hint)
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
        message = f"the model's code crashed the process ({name})"
        hint = "out of memory? --max-memory bounds it" if name == "SIGKILL" else "-v shows where it stood"
        return TargetError(job.target.name, "crash", message, hint)
    message = f"the model's code ended the process (exit code {code})"
    return TargetError(job.target.name, "crash", message, "remove os._exit and the like from the factory")
