"""Runs of the command line in processes of their own, with and without a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND = (sys.executable, "-m", "initcheck")


def environment(**changes: str) -> dict[str, str]:
    """This environment without what chooses colours and widths."""
    kept = {key: value for key, value in os.environ.items() if key not in {"NO_COLOR", "FORCE_COLOR", "COLUMNS"}}
    return {**kept, **changes}


def in_terminal(command: Sequence[str], *, stream: str) -> tuple[int, str]:
    """Exit code of a command, and what it wrote to ``stdout`` or ``stderr`` while that was a terminal."""
    ours, theirs = pty.openpty()
    streams: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: theirs}
    with subprocess.Popen(command, env=environment(TERM="xterm-256color", COLUMNS="80"), **streams) as process:
        os.close(theirs)
        text = b"".join(_chunks(ours))
    os.close(ours)
    return process.returncode, text.decode("utf-8")


def _chunks(descriptor: int) -> Sequence[bytes]:
    found = []
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:
            return found
        if not chunk:
            return found
        found.append(chunk)
