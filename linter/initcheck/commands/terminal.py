"""Standard output and standard error: what they can show, and writing to them without a traceback."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from initcheck.reports.style import Style

__all__ = ["COLORS", "log", "one_line", "style_of", "write_stdout"]

COLORS = ("auto", "always", "never")
"""Values of ``--color``."""


def style_of(stream: TextIO | None, color: str, *, verbose: bool) -> Style:
    """What a stream can show; None stands for a file.

    ``color`` is ``always``, ``never`` or ``auto``: then NO_COLOR goes before FORCE_COLOR, and both before the terminal.
    COLUMNS sets the width, which is 100 where there is no terminal.
    """
    from initcheck.reports.style import Style

    forced = color == "always" or (
        color == "auto" and not os.environ.get("NO_COLOR") and bool(os.environ.get("FORCE_COLOR"))
    )
    terminal = stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"
    colored = forced or (color == "auto" and terminal and not os.environ.get("NO_COLOR"))
    width = max(shutil.get_terminal_size((100, 24)).columns, 40)
    return Style(width=width, color=colored, unicode=stream is None or _shows_blocks(stream), verbose=verbose)


def _shows_blocks(stream: TextIO) -> bool:
    try:
        "▁█…".encode(stream.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def write_stdout(text: str, *, utf8: bool = False) -> None:
    """Write to standard output; a reader that has gone away (``| head``) is no error.

    Args:
        text: What to write.
        utf8: Whether to write UTF-8 whatever the locale says, for formats that demand it. Otherwise a character that
            the locale does not know is written as its escape.
    """
    stream = sys.stdout
    encoding = "utf-8" if utf8 else (stream.encoding or "ascii")
    try:
        if hasattr(stream, "buffer"):
            stream.flush()
            stream.buffer.write(text.encode(encoding, "backslashreplace"))
        else:
            stream.write(text)
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def log(text: str) -> None:
    """Write a line to standard error, with escapes for what its encoding does not know."""
    encoding = getattr(sys.stderr, "encoding", None) or "ascii"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr)  # noqa: T201 - this is the log
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def one_line(text: str) -> str:
    """Text with every run of white space as one blank."""
    return " ".join(text.split())
