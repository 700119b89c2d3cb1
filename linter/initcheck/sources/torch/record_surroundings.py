"""What a factory does to tensors behind the dispatcher's back: devices, numpy, assignments of data."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _device
from torch.utils._device import _device_constructors

from initcheck.sources.torch.record_modes import without_functions

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from initcheck.sources.torch.record import Recorder

__all__ = ["Surroundings"]

_TO_DATA = frozenset({torch.Tensor.numpy, torch.Tensor.__array__, torch.Tensor.tolist})
_MOVES = frozenset({torch.Tensor.cuda, torch.Tensor.cpu, torch.Tensor.xpu, torch.Tensor.pin_memory})
_LITERALS = frozenset({torch.tensor, torch.as_tensor, torch.asarray, torch.Tensor.new_tensor})
_ADDRESSES = frozenset({torch.Tensor.data_ptr, torch.Tensor.__dlpack__})
_IN_CONTEXT = _device.DeviceContext.__torch_function__.__code__
_SET_DATA = torch.Tensor.data.__set__  # type: ignore[attr-defined]


class Surroundings(TorchFunctionMode):
    """Keeps tensors on the recorder's device and their data in sight.

    A default device is not set on purpose: transformers skips its initialisation where it sees one that is ``meta``.

    Args:
        recorder: The recorder in whose company it works.
    """

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder
        self._device = "meta" if recorder.on_meta else "cpu"

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run a function of torch with its devices exchanged."""
        kwargs = dict(kwargs or {})
        if func in _MOVES:
            return args[0]
        # Each access makes a wrapper of its own.
        if func == _SET_DATA:
            return self._assign(*args)
        if func in _ADDRESSES:
            self._recorder.hand_out(args[0])
        if func in _device_constructors() and _is_wanted_on_meta(kwargs.get("device"), sys._getframe(1)):  # noqa: SLF001
            return self._allocate(func, args, kwargs)
        if ("device" in kwargs and _is_foreign(kwargs["device"])) or (
            func in _device_constructors() and _is_foreign(_device.CURRENT_DEVICE)
        ):
            kwargs["device"] = self._device
        if func is torch.Tensor.to:
            args = tuple(self._device if not isinstance(a, torch.Tensor) and _is_foreign(a) else a for a in args)
        if func in _LITERALS and self._recorder.on_meta:
            kwargs = self._with_data(func, args, kwargs)
        if func in _TO_DATA:
            return self._export(func, args, kwargs)
        return func(*args, **kwargs)

    def _with_data(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments by which a tensor is made of numbers where they are kept; the dispatcher moves it on."""
        if func is torch.Tensor.new_tensor:
            return {"dtype": args[0].dtype, **kwargs, "device": "cpu"}
        return {**kwargs, "device": "cpu"} if kwargs.get("device") is not None else kwargs

    def _allocate(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A tensor whose user wants it on the meta device: its memory comes later."""
        self._recorder.awaiting = True
        try:
            return func(*args, **kwargs)
        finally:
            self._recorder.awaiting = False

    def _assign(self, target: torch.Tensor, value: torch.Tensor) -> None:
        """``target.data = value``: the storage changes hands, and the history of the old one is not to be lost."""
        with without_functions():
            if target.is_meta:
                value = self._recorder.twin(value)
            self._recorder.inherit(target, value)
            _SET_DATA(target, value)

    def _export(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Values of a meta tensor for numpy, which may write into them unseen.

        Raises:
            RuntimeError: If they are not all kept.
        """
        with without_functions():
            readonly = func is torch.Tensor.tolist
            real = self._recorder.expose(args[0], readonly=readonly)
            if real is None or (args[0].is_meta and args[0].requires_grad and not readonly):
                raise RuntimeError("the values of a tensor on the meta device are not known")
            return func(real, *args[1:], **kwargs)


def _is_wanted_on_meta(device: object, caller: FrameType) -> bool:
    """Whether the user asks for the meta device: by its name, or by a default device.

    A device that was read off another tensor is meta here, where all are, and need not be elsewhere.

    Args:
        device: What a constructor was given.
        caller: Frame that calls it, that of ``with torch.device(...)`` where there is one.
    """
    if isinstance(device, str):
        return device == "meta"
    default = caller.f_locals["self"].device if caller.f_code is _IN_CONTEXT else _device.CURRENT_DEVICE
    return default is not None and default.type == "meta" and (device is None or device == default)


def _is_foreign(device: object) -> bool:
    """Whether something names a device that new tensors are not to go to."""
    if isinstance(device, (torch.device, str)):
        try:
            return torch.device(device).type not in {"cpu", "meta"}
        except RuntimeError:
            return False
    return False
