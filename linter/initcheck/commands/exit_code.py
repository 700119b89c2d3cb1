"""What the exit code of a run means."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from initcheck.report import Report
    from initcheck.rule import Severity

__all__ = ["ExitCode", "exit_code"]


class ExitCode(IntEnum):
    """Exit codes, so that a CI job can tell a bad model from a run that checked nothing."""

    OK = 0
    """Every target got a verdict and nothing reached ``--fail-on``."""
    FINDINGS = 1
    """A finding reached ``--fail-on``."""
    NO_VERDICT = 2
    """Some target got no verdict: usage, plugin, load or internal error, nothing matched, no weights anywhere."""
    INTERRUPTED = 130
    """Stopped from the keyboard."""


def exit_code(report: Report, fail_on: Severity | None) -> ExitCode:
    """Code of a finished run: a target without a verdict outranks findings, which count unless ``fail_on`` is None."""
    if report.errors:
        return ExitCode.NO_VERDICT
    if fail_on is not None and report.worst().rank >= fail_on.rank:
        return ExitCode.FINDINGS
    return ExitCode.OK
