"""Values of command-line options, read with an error that names what would have been right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from initcheck.errors import UsageError
from initcheck.near_miss import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from initcheck.rule import Severity

__all__ = ["Output", "choice", "count", "dims", "duration", "outputs", "severities", "shapes", "size", "words"]

DTYPES = (
    *("float16", "bfloat16", "float32", "float64", "complex64", "complex128"),
    *("bool", "uint8", "int8", "int16", "int32", "int64"),
)
"""Element types that an input may have."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGTkmgt])(?:i?[Bb])?|[Bb])?")


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


def outputs(values: Sequence[str], default: str, formats: Sequence[str] | None = None) -> tuple[Output, ...]:
    """Where each format goes.

    Args:
        values: ``FORMAT`` or ``FORMAT=FILE`` words.
        default: Format where there are no words.
        formats: Formats that exist; those of ``check`` when left out.

    Raises:
        UsageError: If a format does not exist, or two go to one place.
    """
    from initcheck.reports import FORMATS

    found: list[Output] = []
    for value in values or (default,):
        name, _, file = value.partition("=")
        choice("--format", name, formats or FORMATS)
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


def shapes(values: Iterable[str]) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """``NAME=1,3,224,224[:TYPE]`` words: shapes, and element types where given.

    Raises:
        UsageError: If the form is wrong.
    """
    found, types = {}, {}
    for value in values:
        name, _, rest = value.rpartition("=")
        sizes, colon, dtype = rest.partition(":")
        if not name or not all(part.strip().isdecimal() and int(part) > 0 for part in sizes.split(",")):
            raise UsageError(f"--input-shape: {value!r} is not NAME=SIZE,SIZE,...", "for example x=1,3,224,224")
        found[name] = tuple(int(part) for part in sizes.split(","))
        if colon:
            types[name] = choice("--input-shape", dtype.strip(), DTYPES)
    return found, types


def count(option: str, value: str) -> int:
    """A number of things, 0 or more.

    Raises:
        UsageError: If it is none.
    """
    if not value.isdecimal():
        raise UsageError(f"{option}: {value!r} is not a whole number", f"for example {option} 2")
    return int(value)


def duration(option: str, value: str) -> float:
    """Seconds, more than none.

    Raises:
        UsageError: If it is no such number.
    """
    try:
        seconds = float(value)
    except ValueError:
        seconds = 0.0
    if not 0.0 < seconds < float("inf"):
        raise UsageError(f"{option}: {value!r} is not a number of seconds", f"for example {option} 300")
    return seconds


def size(option: str, value: str) -> int:
    """Bytes, as ``2GB``, ``500 MB`` or a plain number; the units are powers of 1024.

    Raises:
        UsageError: If it is no size.
    """
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise UsageError(f"{option}: {value!r} is not a size", f"for example {option} 500MB")
    number, unit = match.groups()
    return int(float(number) * 1024 ** (" kmgt".index(unit.lower()) if unit else 0))


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
