"""The command line: parses, calls a command, turns what it raises into one line and an exit code.

Help must come at once, so nothing here imports numpy, onnx, rich or a module that does.
"""

from __future__ import annotations

import re
import sys
import traceback
from typing import TYPE_CHECKING, Annotated, Any

import typer

from initcheck import __version__
from initcheck.commands.check import check
from initcheck.commands.exit_code import ExitCode
from initcheck.commands.measure import measure
from initcheck.commands.rule import rule
from initcheck.commands.terminal import log, one_line
from initcheck.commands.verbatim import VerbatimCommand, VerbatimGroup
from initcheck.errors import InitcheckError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


class DefaultToCheck(VerbatimGroup):
    """A group in which ``check`` may be left out.

    The words are looked at before they are parsed: resolving the command later would take the value of a leading option
    (``--format json model.onnx``) for the name of a command.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``check`` in front unless the first word is a command or an option of the group itself."""
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        first = args[0] if args else ""
        completing = ctx.resilient_parsing and not args
        if not completing and first not in self.commands and first.partition("=")[0] not in own:
            args = ["check", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=DefaultToCheck,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    subcommand_metavar="[check] TARGET... | COMMAND",
    epilog="initcheck TARGET... means initcheck check TARGET...; its options: initcheck check --help. "
    "Exit codes: 0 clean, 1 findings, 2 some target got no verdict.",
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"initcheck {__version__}")
        raise typer.Exit


@app.callback()
def _group(
    version: Annotated[
        bool, typer.Option("-V", "--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """An architecture linter for neural networks: predicts without training whether training can start."""


app.command(cls=VerbatimCommand)(check)
app.command(cls=VerbatimCommand)(measure)
app.command(cls=VerbatimCommand)(rule)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; the only place that catches what the rest raises."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = typer.main.get_command(app).main(args=words, prog_name="initcheck", standalone_mode=False)
    except InitcheckError as error:
        return _fail(str(error))
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "initcheck check"
        return _fail(f"{error.format_message().rstrip('.')}; see {command} --help")
    except KeyboardInterrupt:
        code = ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a bug must not exit with 1, which means findings
        if any(re.fullmatch(r"-[a-z]*v[a-z]*|--verbose", word) for word in words):
            log(traceback.format_exc().rstrip())
        return _fail(f"internal error: {type(error).__name__}: {error}; a bug, -v shows where")
    if code == ExitCode.INTERRUPTED:
        log("interrupted")
    return int(code or 0)


def _fail(message: str) -> int:
    log(one_line(f"error: {message}"))
    return ExitCode.NO_VERDICT
