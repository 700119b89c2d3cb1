"""A target to a graph, with what foreign code raises told in one line."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import torch

from initcheck.errors import ModelLoadError
from initcheck.sources.torch.archive import load_archive
from initcheck.sources.torch.blame import one_sentence, place_of
from initcheck.sources.torch.factory import find_factory
from initcheck.sources.torch.inputs import InputShape
from initcheck.sources.torch.load import load

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from initcheck.graph import Graph
    from initcheck.settings import Settings
    from initcheck.targets import Target

__all__ = ["load_target"]

MORE_MEMORY = "--max-memory allows more"


def load_target(target: Target, settings: Settings, app_dir: Path) -> Graph:
    """Import, build, trace and lower.

    It changes ``sys.path`` and ``sys.argv`` and runs the user's code, so only in a process of its own.

    Args:
        target: An import string or a ``.pt2`` archive.
        settings: Its shapes and bounds.
        app_dir: Folder that comes first on ``sys.path``, absolute.

    Raises:
        ModelLoadError: If there is no graph, whatever the user's code raised included.
        UsageError: If a shape does not fit the model.
    """
    # Several workers share the processors, and nothing here computes on large tensors.
    torch.set_num_threads(1)
    # What torch logs while inputs are tried in vain is not the user's to read.
    logging.getLogger("torch").setLevel(logging.CRITICAL)
    shapes = {name: InputShape(sizes, settings.dtypes.get(name, "")) for name, sizes in settings.shapes.items()}
    if target.path is not None:
        return load_archive(target.path, root=app_dir, max_memory=settings.max_memory)
    if target.reference is None:
        raise ValueError(target)
    factory, root = find_factory(target.reference, app_dir)
    watched = _Watched(factory)
    try:
        return load(watched, root=root, shapes=shapes, max_memory=settings.max_memory)
    except ModelLoadError as error:
        place = place_of(error.__cause__, root) if error.__cause__ else ""
        if not place:
            raise
        raise ModelLoadError(f"{error.message} ({place})", error.hint, kind=error.kind) from error
    except BaseException as error:
        if error is watched.raised:
            hint = MORE_MEMORY if _lacks_memory(error) else "-v shows the traceback"
            message = f"the factory raised {one_sentence(error, root)}"
            raise ModelLoadError(message, hint, kind="factory") from error
        if _lacks_memory(error):
            raise ModelLoadError(f"not enough memory: {error}", MORE_MEMORY, kind="memory") from error
        raise


class _Watched:
    """Calls a factory and remembers what it raised, so that it can be told from an error of initcheck's own."""

    def __init__(self, factory: Callable[[], object]) -> None:
        self.__wrapped__ = factory
        self.raised: BaseException | None = None

    def __call__(self) -> Any:
        try:
            return self.__wrapped__()
        except BaseException as error:
            self.raised = error
            raise


def _lacks_memory(error: BaseException) -> bool:
    """Whether an allocation failed; torch has no class of its own for that on the CPU."""
    return isinstance(error, MemoryError) or "can't allocate memory" in str(error)
