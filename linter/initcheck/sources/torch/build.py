"""A factory called under the recorder: on the meta device where that works, for real where it does not."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter
from torch.utils import _device
from torch.utils import _pytree as pytree

from initcheck.errors import ModelLoadError
from initcheck.sources.torch.attributes import register_attributes
from initcheck.sources.torch.built import Built, RecordedTensor
from initcheck.sources.torch.record import OutOfBudget, Recorder
from initcheck.sources.torch.record_init import observed
from initcheck.sources.torch.record_result import recorded_tensors
from initcheck.sources.torch.record_seeds import seeded
from initcheck.sources.torch.record_surroundings import Surroundings
from initcheck.sources.torch.wrappers import unwrap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

__all__ = ["Built", "RecordedTensor", "build", "build_once", "recording", "tensor_bytes"]

Example = tuple[Any, ...] | dict[str, Any] | None


def build(factory: Callable[[], object], *, max_memory: int, root: Path, example: Example = None) -> Built:
    """Call a factory and say by which law each tensor of its module is drawn.

    The factory runs on the meta device. Parameters whose law is not certain cause a second call for real when their
    model fits ``max_memory``; a factory that fails on the meta device is called for real at once.

    Args:
        factory: Returns a module, or ``(module, example inputs)``.
        max_memory: Bytes that parameters and buffers of a real build may take.
        root: Folder of the user's project: writes are located in code below it only.
        example: Example inputs for a dry run where modules are lazy; those of the factory go first.

    Raises:
        ModelLoadError: If the factory returns no module, lazy modules have no example to be materialised by, or a
            real build that cannot be avoided takes more than ``max_memory``.
        Exception: Whatever the factory raises when called for real.
    """
    try:
        built = _call(factory, root, example, on_meta=True)
    except ModelLoadError:
        raise
    except Exception as error:  # noqa: BLE001 - foreign code; what fails on the meta device only may raise anything
        note = f"built for real, since it cannot be built on the meta device ({_reason(error)})"
        return replace(_build_for_real(factory, root, example, max_memory, error), notes=(note,))
    unknown = [name for name, tensor in built.parameters.items() if _is_unknown(tensor)]
    if not unknown:
        return built
    size = tensor_bytes(built.module)
    several = _several(unknown)
    if size > max_memory:
        note = f"no law is known for {several}, and the model ({size / 1e9:.1f} GB) is too large to be built for real"
        return replace(built, notes=(note,))
    return _complete(built, factory, root, example, several)


def _build_for_real(
    factory: Callable[[], object], root: Path, example: Example, max_memory: int, first: Exception
) -> Built:
    """Build under the recorder; where only that fails, as if nobody looked."""
    try:
        return _call(factory, root, example, on_meta=False, max_memory=max_memory)
    except ModelLoadError:
        raise
    except OutOfBudget:
        raise ModelLoadError(
            f"the model takes more than {max_memory / 1e9:.1f} GB, and cannot be built without ({_reason(first)})",
            "allow more memory, or check a smaller configuration",
            kind="memory",
        ) from first
    except Exception as error:
        if (type(error), str(error)) == (type(first), str(first)):
            raise
        module, inputs = build_once(factory)
        return Built(module, inputs, recorded_tensors(module, Recorder(root, on_meta=False)), on_meta=False)


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]


@contextmanager
def recording(root: Path, *, on_meta: bool, max_memory: float = math.inf) -> Iterator[Recorder]:
    """Record what is done to tensors; everything that was exchanged is put back afterwards.

    Args:
        root: Folder of the user's project.
        on_meta: Whether new tensors go to the meta device.
        max_memory: Bytes that tensors may take at a time.
    """
    recorder = Recorder(root, on_meta=on_meta, max_memory=max_memory)
    with _defaults_restored(), seeded(), observed(recorder), Surroundings(recorder), recorder:
        yield recorder


def build_once(
    factory: Callable[[], object], *, seed: int = 0, example: Example = None
) -> tuple[torch.nn.Module, Example]:
    """Call a factory for real, unobserved; its module, and the example inputs where it returned some.

    Args:
        factory: Returns a module, or ``(module, example inputs)``.
        seed: Of all generators.
        example: Example inputs for a dry run where modules are lazy; those of the factory go first.

    Raises:
        ModelLoadError: If the factory returns no module, or lazy modules have no example to be materialised by.
        Exception: Whatever the factory raises.
    """
    with _defaults_restored(), seeded(seed):
        module, inputs = _take_apart(factory())
        if _is_lazy(module):
            _materialize(module, example if inputs is None else inputs)
    return module, inputs


@contextmanager
def _defaults_restored() -> Iterator[None]:
    """Put back the defaults of torch that a factory may set for itself."""
    dtype, grad, device = torch.get_default_dtype(), torch.is_grad_enabled(), _device.CURRENT_DEVICE
    try:
        yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if device != _device.CURRENT_DEVICE:
            torch.set_default_device(device)


def _call(
    factory: Callable[[], object], root: Path, example: Example, *, on_meta: bool, max_memory: float = math.inf
) -> Built:
    with recording(root, on_meta=on_meta, max_memory=max_memory) as recorder:
        module, inputs = _take_apart(recorder.watch(factory))
        if _is_lazy(module):
            _materialize(module, example if inputs is None else inputs)
        plain = register_attributes(module)
    inputs = _with_values(inputs, recorder)
    tensors = {
        name: replace(record, is_attribute=True) if name in plain else record
        for name, record in recorded_tensors(module, recorder).items()
    }
    return Built(module, inputs, tensors, on_meta and _all_meta(module))


def _with_values(inputs: Example, recorder: Recorder) -> Example:
    """Inputs made on the meta device with the values that were kept of them: lengths, masks, ids that forward reads."""

    def valued(tensor: torch.Tensor) -> torch.Tensor:
        real = recorder.mirror.real(tensor)
        return tensor if real is None or real is tensor else real.clone()

    result: Example = pytree.tree_map_only(torch.Tensor, valued, inputs)
    return result


def _take_apart(result: object) -> tuple[torch.nn.Module, Example]:
    """Module and example inputs of what a factory returned."""
    given: Any = None
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], torch.nn.Module):
        result, given = result
    return unwrap(result), _as_inputs(given)


def _complete(built: Built, factory: Callable[[], object], root: Path, example: Example, several: str) -> Built:
    """Distributions of unknown parameters from a real build."""
    try:
        real = _call(factory, root, example, on_meta=False).parameters
    except Exception as error:  # noqa: BLE001 - foreign code
        note = f"no law is known for {several}, and building it for real fails ({_reason(error)})"
        return replace(built, notes=(note,))
    parameters = {name: _filled(tensor, real.get(name)) for name, tensor in built.parameters.items()}
    left = [name for name, tensor in parameters.items() if _is_unknown(tensor)]
    if left:
        note = f"no law is known for {_several(left)}, not even from a real build: it was written in part only"
    else:
        note = f"initial values of {several} estimated from a real build"
    return replace(built, parameters=parameters, notes=(note,))


def _several(names: list[str]) -> str:
    return f"{len(names)} parameters ({names[0]}, …)" if len(names) > 1 else f"parameter {names[0]}"


def _filled(tensor: RecordedTensor, real: RecordedTensor | None) -> RecordedTensor:
    if tensor.distribution is not None or real is None or real.shape != tensor.shape:
        return tensor
    values = tensor.values if tensor.values is not None else real.values
    return replace(tensor, distribution=real.distribution, values=values, rows=real.rows)


def _is_unknown(tensor: RecordedTensor) -> bool:
    """Whether a real build would tell more of a tensor."""
    is_float = tensor.dtype.startswith(("float", "bfloat"))
    return (
        is_float and tensor.distribution is None and tensor.written and not tensor.is_buffer and 0 not in tensor.shape
    )


def _as_inputs(given: Any) -> Example:
    """Example inputs as arguments or keyword arguments."""
    if given is None or isinstance(given, dict):
        return given
    return tuple(given) if isinstance(given, (tuple, list)) else (given,)


def _is_lazy(module: torch.nn.Module) -> bool:
    tensors = (*module.parameters(), *module.buffers())
    return any(isinstance(tensor, (UninitializedParameter, UninitializedBuffer)) for tensor in tensors)


def _materialize(module: torch.nn.Module, example: Example) -> None:
    """Run lazy modules once, so that they get their parameters."""
    if example is None:
        lazy = next(name for name, child in module.named_modules() if not list(child.children()) and _is_lazy(child))
        raise ModelLoadError(
            f"layer {lazy or type(module).__name__} is lazy: its parameters have no shape before a forward pass",
            "give example inputs, or return (module, example inputs) from the factory",
            kind="lazy",
        )
    modes = [(child, child.training) for child in module.modules()]
    module.eval()
    with torch.no_grad():
        module(**example) if isinstance(example, dict) else module(*example)
    for child, mode in modes:
        child.training = mode


def _all_meta(module: torch.nn.Module) -> bool:
    return all(tensor.is_meta for tensor in module.parameters())


def tensor_bytes(module: torch.nn.Module) -> int:
    """Bytes that parameters and buffers take, or would take if they had values."""
    tensors: Mapping[int, torch.Tensor] = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
