"""What a file that is no ONNX model is instead, so that the message can say what to do."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from initcheck.errors import ModelLoadError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["checked_size", "damage_error", "lfs_error", "unreadable_error"]

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_HEAD_BYTES = 512
_SIGNATURES = (
    (b"PK\x03\x04", "a zip archive, perhaps a PyTorch checkpoint"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x80\x02", "a Python pickle"),
    (b"\x89HDF\r\n", "HDF5, perhaps a Keras model"),
)


def checked_size(path: Path) -> int:
    """Return the size of a regular file that is not empty; nothing is opened, so that a pipe cannot block.

    Raises:
        ModelLoadError: missing, directory, not-a-file, empty or unreadable.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise ModelLoadError(f"{path}: no such file", "check the path", kind="missing") from None
    except ValueError:
        raise ModelLoadError(f"{str(path)!r} is no file name", "check the path", kind="missing") from None
    except OSError as error:
        raise unreadable_error(path, error) from error
    if stat.S_ISDIR(status.st_mode):
        raise ModelLoadError(f"{path}: is a directory", "name the .onnx file in it", kind="directory")
    if not stat.S_ISREG(status.st_mode):
        raise ModelLoadError(f"{path}: is no regular file", "save the model to a file first", kind="not-a-file")
    if not status.st_size:
        raise ModelLoadError(f"{path}: is empty", "export or download the model again", kind="empty")
    return status.st_size


def unreadable_error(path: Path, error: OSError) -> ModelLoadError:
    """The system refuses to open or read the file."""
    return ModelLoadError(
        f"{path}: cannot be read: {error.strerror}", "check the file's permissions", kind="unreadable"
    )


def lfs_error(path: Path) -> ModelLoadError | None:
    """The error to raise if the file is a Git-LFS pointer that stands for the real one."""
    if not _head(path).startswith(_LFS_POINTER):
        return None
    return ModelLoadError(
        f"{path}: is a Git-LFS pointer, not the file itself",
        "run `git lfs pull`, or check out with `lfs: true`",
        kind="lfs-pointer",
    )


def damage_error(path: Path, reason: str, kind: str = "damaged") -> ModelLoadError:
    """The error for bytes that do not parse as a model; names what they look like, where that is recognisable.

    Args:
        path: The file.
        reason: What the parser met.
        kind: Kind of the error if nothing better is recognised.
    """
    head = _head(path)
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return ModelLoadError(f"{path}: is {name}, not an ONNX model", "export the model to ONNX", kind="damaged")
    if _is_text(head):
        return ModelLoadError(
            f"{path}: is text, not a binary ONNX model",
            "save it with onnx.save(model, path), which writes the binary format",
            kind="text",
        )
    return ModelLoadError(
        f"{path}: is damaged or no ONNX model: {reason}", "export or download the model again", kind=kind
    )


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise unreadable_error(path, error) from error


def _is_text(head: bytes) -> bool:
    # A character may be cut at the end of the head.
    text = head.decode("utf-8", errors="ignore")
    return len(text.encode()) > len(head) - 4 and all(char.isprintable() or char in "\t\n\r" for char in text)
