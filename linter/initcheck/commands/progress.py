"""Progress on a terminal, once a run takes longer than a second."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress, TaskID

__all__ = ["ProgressBar"]

PATIENCE = 1.0


class ProgressBar:
    """Watches a run; shows a bar after ``PATIENCE`` seconds, so that a short run draws (and imports) nothing.

    Args:
        visible: Whether a bar may be drawn at all.

    Attributes:
        seconds: CPU time of every target that has ended, by its name.
    """

    def __init__(self, *, visible: bool) -> None:
        self.seconds: dict[str, float] = {}
        self._visible = visible and sys.stderr.isatty()
        self._now: tuple[str, int, int] = ("", 0, 0)
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(PATIENCE, self._show)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        if self._visible:
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        with self._lock:
            self._visible = False
            if self._bar is not None:
                self._bar.stop()

    def started(self, target: str, index: int, total: int) -> None:
        """A target begins."""
        with self._lock:
            self._now = (target, index, total)
            self._draw()

    def stepped(self, target: str, done: int, total: int) -> None:
        """A part of a target is through."""
        self.started(target, done, total)

    def ended(self, target: str, seconds: float) -> None:
        """A target is through."""
        self.seconds[target] = seconds

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        with self._lock:
            if not self._visible:
                return
            name = TextColumn("{task.description}", markup=False)
            columns = (BarColumn(bar_width=20), MofNCompleteColumn(), TimeElapsedColumn(), name)
            self._bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._bar.add_task("", total=None)
            self._bar.start()
            self._draw()

    def _draw(self) -> None:
        if self._bar is not None and self._task is not None:
            target, index, total = self._now
            self._bar.update(self._task, description=target, completed=index, total=total or None)
