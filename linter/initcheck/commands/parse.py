"""Values of command-line options, read with an error that names what would have been right."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from initcheck.errors import UsageError
from initcheck.near_miss import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from initcheck.rule import Severity

__all__ = ["Output", "choice", "dims", "outputs", "severities", "shapes", "words"]


@dataclass(frozen=True, slots=True)
class Output:
    """One ``--format``: the format, and the file it goes to (None for standard output)."""

    format: str
    file: Path | None


def choice(option: str, value: str, allowed: Sequence[str]) -> str:
    """One of a few words.

    Raises:
        UsageError: If it is another word.
    """
    if value in allowed:
        return value
    hint = did_you_mean(value, allowed)
    raise UsageError(f"{option}: {value!r} is not one of {', '.join(allowed)}", hint)


def words(values: Iterable[str]) -> tuple[str, ...]:
    """Comma-separated words of a repeatable option."""
    return tuple(word.strip() for value in values for word in value.split(",") if word.strip())


def outputs(values: Sequence[str], default: str) -> tuple[Output, ...]:
    """Where each format goes.

    Raises:
        UsageError: If a format does not exist, or two go to one place.
    """
    from initcheck.reports import FORMATS

    found: list[Output] = []
    for value in values or (default,):
        name, _, file = value.partition("=")
        choice("--format", name, FORMATS)
        if "=" in value and not file:
            raise UsageError(f"--format: {value!r} names no file", f"write {name}=FILE, or {name} for standard output")
        output = Output(name, Path(file) if file else None)
        if any(output.file == other.file for other in found):
            place = output.file or "standard output"
            raise UsageError(f"--format: two formats go to {place}", "give each a file of its own: FORMAT=FILE")
        found.append(output)
    return tuple(found)


def severities(values: Iterable[str]) -> dict[str, Severity]:
    """``RULE=LEVEL`` words.

    Raises:
        UsageError: If the form or the level is wrong; whether the rule exists is for selection to say.
    """
    from initcheck.rule import Severity

    found = {}
    for word in words(values):
        rule, equals, level = word.partition("=")
        if not rule or not equals:
            raise UsageError(f"--severity: {word!r} is not RULE=LEVEL", "for example --severity INI301=warning")
        found[rule] = Severity(choice("--severity", level, [member.value for member in Severity]))
    return found


def shapes(values: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """``NAME=1,3,224,224`` words.

    Raises:
        UsageError: If the form is wrong, or an element type is given: an ONNX file states its own.
    """
    found = {}
    for value in values:
        name, _, sizes = value.rpartition("=")
        if name and ":" in sizes:
            raise UsageError(f"--input-shape: {value!r} names an element type", "leave it out, the ONNX file states it")
        if not name or not all(size.strip().isdecimal() and int(size) > 0 for size in sizes.split(",")):
            raise UsageError(f"--input-shape: {value!r} is not NAME=SIZE,SIZE,...", "for example x=1,3,224,224")
        found[name] = tuple(int(size) for size in sizes.split(","))
    return found


def dims(values: Iterable[str]) -> dict[str, int]:
    """``batch=8,seq=128`` words.

    Raises:
        UsageError: If the form is wrong.
    """
    found = {}
    for word in words(values):
        name, _, size = word.rpartition("=")
        if not name or not size.isdecimal() or int(size) == 0:
            raise UsageError(f"--dim: {word!r} is not NAME=SIZE", "for example --dim batch=8,seq=128")
        found[name] = int(size)
    return found
