"""Reports to their places, errors to standard error: what all commands that judge or run models share."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from initcheck.commands.terminal import log, one_line, style_of, write_stdout
from initcheck.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from initcheck.commands.parse import Output
    from initcheck.report import TargetError
    from initcheck.reports.style import Style

__all__ = ["log_errors", "plural", "write_outputs"]


def write_outputs(outputs: Sequence[Output], render: Callable[[str, Style], str], color: str, *, verbose: bool) -> None:
    """Write every format to its place, standard output first.

    Args:
        outputs: Formats and files.
        render: Text of a format in a style.
        color: ``auto``, ``always`` or ``never``.
        verbose: Whether to add what -v asks for.

    Raises:
        UsageError: If a file cannot be written.
    """
    for output in sorted(outputs, key=lambda output: output.file is not None):
        if output.file is None:
            text = render(output.format, style_of(sys.stdout, color, verbose=verbose))
            write_stdout(text, utf8=output.format == "json")
            continue
        style = style_of(None, "always" if color == "always" else "never", verbose=verbose)
        try:
            Path(output.file).write_bytes(render(output.format, style).encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise UsageError(
                f"--format: cannot write {output.file}: {error.strerror}", "name a file that can be written"
            ) from error


def log_errors(errors: Iterable[TargetError], *, verbose: bool) -> None:
    """One line for every target that gave nothing, its traceback with -v."""
    for error in errors:
        hint = f"; {error.hint}" if error.hint else ""
        log(one_line(f"error: {error.target}: {error.message}{hint}"))
        if verbose and error.details:
            log(error.details.rstrip())


def plural(number: int, word: str) -> str:
    """``1 model``, ``2 models``."""
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
