"""Places of external data: inside the model's folder, or refused.

A model is somebody else's file. Its external data names paths, and a path that leaves the folder would let a download
make initcheck read any file of the user.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING

from initcheck.errors import ModelLoadError
from initcheck.sources.onnx.damage import lfs_error
from initcheck.sources.onnx.skeleton import EMBEDDED_OFFSET
from initcheck.sources.onnx.tensor import FileRange

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["embedded_range", "external_range"]

_MAX_DIGITS = 19


def external_range(folder: Path, entries: Mapping[str, str], nbytes: int | None, where: str) -> FileRange:
    """Resolve the ``external_data`` entries of one tensor.

    Args:
        folder: The model's folder.
        entries: Keys ``location``, ``offset`` (default 0) and ``length`` (default what the shape needs).
        nbytes: What shape and element type need; ``None`` if the element type is not known.
        where: How messages name the tensor.

    Raises:
        ModelLoadError: external-missing, external-outside, external-range, unreadable or lfs-pointer.
    """
    location = entries.get("location", "")
    path = _inside(folder, location, where)
    size = _file_size(path, location, where)
    offset = _parse_bytes(entries, "offset", 0, where)
    length = _parse_bytes(entries, "length", max(0, size - offset) if nbytes is None else nbytes, where)
    return _range_within(path, offset, length, size, where)


def embedded_range(path: Path, entries: Mapping[str, str], where: str) -> FileRange:
    """Resolve a payload that ``skeleton`` left in the model file itself.

    The range is checked like any other: a file may hold the same entries without ``skeleton`` having written them.

    Args:
        path: The model file.
        entries: Keys ``EMBEDDED_OFFSET`` and ``length``.
        where: How messages name the tensor.

    Raises:
        ModelLoadError: external-range or unreadable.
    """
    size = _file_size(path, path.name, where)
    offset = _parse_bytes(entries, EMBEDDED_OFFSET, 0, where)
    return _range_within(path, offset, _parse_bytes(entries, "length", 0, where), size, where)


def _range_within(path: Path, offset: int, length: int, size: int, where: str) -> FileRange:
    if offset + length <= size:
        return FileRange(path, offset, length)
    pointer = lfs_error(path)
    if pointer is not None:
        raise pointer
    raise ModelLoadError(
        f"{where} lies at bytes {offset} to {offset + length} of {path.name!r}, which ends at {size}",
        "the data is cut off or belongs to another model; export or copy all files again",
        kind="external-range",
    )


def _parse_bytes(entries: Mapping[str, str], key: str, default: int, where: str) -> int:
    """Read a count of bytes; only ASCII digits, so that no sign, blank or underscore slips through ``int``."""
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise ModelLoadError(
            f"{where} has {key} {text[:40]!r} in its external data, which is no number of bytes",
            "export the model again",
            kind="external-range",
        )
    return int(text)


def _inside(folder: Path, location: str, where: str) -> Path:
    windows = PureWindowsPath(location)
    if not location or "\0" in location:
        raise ModelLoadError(
            f"{where} is stored outside the model, but {location!r} is no file name",
            "export the model again",
            kind="external-missing",
        )
    # Windows paths count everywhere: they are never meant as names of files inside the folder.
    if Path(location).is_absolute() or windows.drive or windows.root or ".." in windows.parts:
        raise _outside(location, where)
    try:
        root, path = (Path(os.path.realpath(part, strict=True)) for part in (folder, folder / location))
    except (FileNotFoundError, NotADirectoryError):
        raise ModelLoadError(
            f"{where} is stored in {location!r}, which is not in {str(folder)!r}",
            "copy the external data file into the model's folder",
            kind="external-missing",
        ) from None
    except OSError as error:
        raise _unreadable(location, where, error) from error
    if not path.is_relative_to(root):
        raise _outside(location, where)
    return path


def _file_size(path: Path, location: str, where: str) -> int:
    try:
        status = path.stat()
    except OSError as error:
        raise _unreadable(location, where, error) from error
    if not stat.S_ISREG(status.st_mode):
        raise ModelLoadError(
            f"{where} is stored in {location!r}, which is no regular file",
            "copy the external data file into the model's folder",
            kind="external-missing",
        )
    return status.st_size


def _outside(location: str, where: str) -> ModelLoadError:
    return ModelLoadError(
        f"{where} is stored in {location!r}, outside the model's folder",
        "external data is read from the model's folder only; copy the file there and name it without a path",
        kind="external-outside",
    )


def _unreadable(location: str, where: str, error: OSError) -> ModelLoadError:
    return ModelLoadError(
        f"{where} is stored in {location!r}, which cannot be opened: {error.strerror}",
        "check the file's permissions",
        kind="unreadable",
    )
