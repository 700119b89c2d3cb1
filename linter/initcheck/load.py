"""One target to its graph, and what goes wrong on the way told as an entry of the report."""

from __future__ import annotations

import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from initcheck.errors import InitcheckError, ModelLoadError, UsageError
from initcheck.report import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from initcheck.graph import Graph
    from initcheck.settings import Settings
    from initcheck.targets import Target

__all__ = ["attempt", "load_graph", "of_one_target", "torch_is_needed"]

Result = TypeVar("Result")


def attempt(target: Target, action: Callable[[], Result]) -> Result | TargetError:
    """Do something with a target; what it raises becomes an entry of the report, so that no other target is lost.

    Raises:
        InitcheckError: If settings name something that does not exist for any model.
    """
    import numpy as np

    try:
        # What overflows is reported as not finite; numpy's warnings would say it a second time.
        with np.errstate(all="ignore"):
            return action()
    except ModelLoadError as error:
        message = error.message.removeprefix(f"{target.path}: ")
        return TargetError(target.name, error.kind, message, error.hint, traceback.format_exc())
    except InitcheckError:
        raise
    except Exception as error:  # noqa: BLE001 - a bug met in one model must not hide the findings in the others
        where = "".join(f" {note}" for note in getattr(error, "__notes__", ()))
        message = f"internal error{where}: {type(error).__name__}: {error}"
        return TargetError(target.name, "internal", message, "a bug; -v shows where", traceback.format_exc())


def load_graph(target: Target, settings: Settings) -> Graph:
    """Read a file, or build and trace a PyTorch model.

    Raises:
        ModelLoadError: If the target gives no graph, or a shape does not fit it.
    """
    with of_one_target():
        if target.path is None or target.source == "torch":
            return _load_torch(target, settings)
        return _load_onnx(target.path, settings)


@contextmanager
def of_one_target() -> Iterator[None]:
    """Make a wrong shape or size the error of one target: what does not fit this model may fit the others."""
    try:
        yield
    except UsageError as error:
        raise ModelLoadError(error.message, error.hint or "see --input-shape and --dim", kind="usage") from error


@contextmanager
def torch_is_needed() -> Iterator[None]:
    """Say what to install where an import inside fails."""
    try:
        yield
    except ImportError as error:
        reason = f"{type(error).__name__}: {error}"
        hint = 'install initcheck[torch] here: pip install "initcheck[torch]"'
        raise ModelLoadError(f"PyTorch does not load ({reason})", hint, kind="no-torch") from error


def _load_onnx(path: Path, settings: Settings) -> Graph:
    from initcheck.sources.onnx import load

    if settings.dtypes:
        name = next(iter(settings.dtypes))
        message = f"--input-shape gives {name} an element type, and an ONNX file states its own"
        raise UsageError(message, "leave the type out")
    return load(path, shapes=settings.shapes, dims=settings.dims)


def _load_torch(target: Target, settings: Settings) -> Graph:
    with torch_is_needed():
        from initcheck.sources.torch.target import load_target
    return load_target(target, settings, Path(settings.app_dir or ".").resolve())
