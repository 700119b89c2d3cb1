"""What a factory does to tensors behind the dispatcher's back: devices, numpy, assignments of data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils import _device
from torch.utils._device import _device_constructors

from initcheck.sources.torch.record_modes import without_functions

if TYPE_CHECKING:
    from collections.abc import Callable

    from initcheck.sources.torch.record import Recorder

__all__ = ["Surroundings"]

_TO_DATA = frozenset({torch.Tensor.numpy, torch.Tensor.__array__, torch.Tensor.tolist})
_MOVES = frozenset({torch.Tensor.cuda, torch.Tensor.cpu, torch.Tensor.xpu, torch.Tensor.pin_memory})
_LITERALS = frozenset({torch.tensor, torch.as_tensor, torch.asarray, torch.Tensor.new_tensor})
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


def _is_foreign(device: object) -> bool:
    """Whether something names a device that new tensors are not to go to."""
    if isinstance(device, (torch.device, str)):
        try:
            return torch.device(device).type not in {"cpu", "meta"}
        except RuntimeError:
            return False
    return False
