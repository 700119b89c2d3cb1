"""An import string to something that can be called: imported, found, its arguments bound."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from initcheck.errors import ModelLoadError
from initcheck.near_miss import did_you_mean
from initcheck.sources.torch.blame import one_sentence, project_root

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

    from initcheck.reference import Reference

__all__ = ["find_factory"]


def find_factory(reference: Reference, app_dir: Path) -> tuple[Callable[[], object], Path]:
    """Import what a reference names; the factory, and the root of the user's project.

    Args:
        reference: What to import.
        app_dir: Folder that comes first on ``sys.path``, absolute.

    Raises:
        ModelLoadError: If the import fails, the attribute is missing, it makes no model, or arguments do not fit.
    """
    sys.path.insert(0, str(app_dir))
    file = (app_dir / reference.file).resolve() if reference.file else None
    sys.argv[:] = [str(file) if file else reference.module]
    try:
        module = _import_file(file) if file else importlib.import_module(reference.module)
    except BaseException as error:
        raise _import_error(error, reference, project_root(file, app_dir)) from error
    origin = getattr(module, "__file__", None)
    root = project_root(Path(origin).resolve() if origin else None, app_dir)
    return _bind(_follow(module, reference), reference), root


def _import_file(file: Path) -> ModuleType:
    """Import a file under the name it would have: dotted within a package, so that its relative imports work."""
    folder, parts = file.parent, [] if file.stem == "__init__" else [file.stem]
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    sys.path.insert(1, str(folder))
    name = ".".join(parts)
    if len(parts) > 1:
        module = importlib.import_module(name)
        if Path(module.__file__ or "").resolve() == file:
            return module
    # A module of this name that is loaded already (types, random, torch) is not the user's file.
    name = f"{name}_" if name in sys.modules else name
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file.name} is not Python source")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _import_error(error: BaseException, reference: Reference, root: Path) -> ModelLoadError:
    if isinstance(error, ModuleNotFoundError) and error.name and f"{reference.module}.".startswith(f"{error.name}."):
        hint = "run from the folder that holds it, name that folder with --app-dir, or write path/to/file.py:NAME"
        return ModelLoadError(f"no module named {error.name!r}", hint, kind="import")
    hint = "install what it needs here" if isinstance(error, ModuleNotFoundError) else "-v shows the traceback"
    return ModelLoadError(f"import of {reference.home} failed: {one_sentence(error, root)}", hint, kind="import")


def _follow(module: ModuleType, reference: Reference) -> Any:
    found: Any = module
    for name in reference.attributes:
        try:
            found = getattr(found, name)
        except AttributeError:
            public = [known for known in dir(found) if not known.startswith("_")]
            hint = did_you_mean(name, public) or "check the name after the colon"
            raise ModelLoadError(f"{reference.home} has no {reference.name}", hint, kind="import") from None
    return found


def _bind(found: Any, reference: Reference) -> Callable[[], object]:
    if isinstance(found, nn.Module):
        if reference.called:
            message = f"{reference.name} is a module already, not a factory"
            raise ModelLoadError(message, "leave the arguments out", kind="target")
        return lambda: found
    if not callable(found):
        message = f"{reference.name} is of type {type(found).__name__}, neither a factory nor a torch.nn.Module"
        raise ModelLoadError(
            message, "name a function that returns a module, a module class, or a module", kind="target"
        )
    try:
        inspect.signature(found).bind(*reference.args, **reference.kwargs)
    except TypeError as error:
        hint = f"write literal arguments: {reference.home}:{reference.name}(name=value)"
        raise ModelLoadError(f"{reference.name}(): {error}", hint, kind="target") from None
    except ValueError:
        pass  # A callable written in C has no signature to check against.

    @functools.wraps(found, updated=())
    def factory() -> object:
        return found(*reference.args, **reference.kwargs)

    return factory
