"""A target to a graph, with what foreign code raises told in one line."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from initcheck.errors import ModelLoadError
from initcheck.sources.torch.archive import load_archive
from initcheck.sources.torch.blame import one_sentence, place_of
from initcheck.sources.torch.factory import find_factory
from initcheck.sources.torch.inputs import InputShape
from initcheck.sources.torch.load import load_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from initcheck.graph import Graph
    from initcheck.settings import Settings
    from initcheck.sources.torch.load import Loaded
    from initcheck.targets import Target

__all__ = ["Opened", "load_target", "open_target"]

MORE_MEMORY = "--max-memory allows more"


@dataclass(frozen=True, slots=True)
class Opened:
    """A factory whose model was built and traced, and can be built again.

    Attributes:
        factory: Makes the model.
        root: Folder of the user's project.
        loaded: The model as it was traced.
    """

    factory: Watched
    root: Path
    loaded: Loaded


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
    if target.path is not None:
        _prepare()
        return load_archive(target.path, root=app_dir, max_memory=settings.max_memory)
    return open_target(target, settings, app_dir).loaded.graph


def open_target(target: Target, settings: Settings, app_dir: Path) -> Opened:
    """As ``load_target`` for an import string, with what it takes to build the model again."""
    if target.reference is None:
        raise ValueError(target)
    _prepare()
    shapes = {name: InputShape(sizes, settings.dtypes.get(name, "")) for name, sizes in settings.shapes.items()}
    found, root = find_factory(target.reference, app_dir)
    factory = Watched(found)
    with blamed(factory, root):
        loaded = load_model(factory, root=root, shapes=shapes, max_memory=settings.max_memory)
    return Opened(factory, root, loaded)


def _prepare() -> None:
    # Several workers share the processors, and nothing here computes on large tensors.
    torch.set_num_threads(1)
    # What torch logs while inputs are tried in vain is not the user's to read.
    logging.getLogger("torch").setLevel(logging.CRITICAL)


class Watched:
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


@contextmanager
def blamed(factory: Watched, root: Path, when: str = "") -> Iterator[None]:
    """Tell what the user's code raises inside in one line that names their own.

    Args:
        factory: The factory that may be called inside.
        root: Folder of the user's project.
        when: Added to the sentence about the factory, for one that is called several times.

    Raises:
        ModelLoadError: If the factory raises, memory is short, or a load error has a cause in the user's code.
    """
    try:
        yield
    except ModelLoadError as error:
        place = place_of(error.__cause__, root) if error.__cause__ else ""
        if not place:
            raise
        raise ModelLoadError(f"{error.message} ({place})", error.hint, kind=error.kind) from error
    except BaseException as error:
        if error is factory.raised:
            hint = MORE_MEMORY if _lacks_memory(error) else "-v shows the traceback"
            message = f"the factory raised {one_sentence(error, root)}{when}"
            raise ModelLoadError(message, hint, kind="factory") from error
        if _lacks_memory(error):
            raise ModelLoadError(f"not enough memory: {error}", MORE_MEMORY, kind="memory") from error
        raise


def _lacks_memory(error: BaseException) -> bool:
    """Whether an allocation failed; torch has no class of its own for that on the CPU."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)
