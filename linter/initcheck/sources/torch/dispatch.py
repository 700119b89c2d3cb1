"""The trace of an ordinary forward pass, for modules that torch.export cannot follow (a branch on a tensor's value).

Operators are seen below autograd, where composite ones have come apart. Those that the vocabulary knows as one
(``linear``, ``lstm``, attention, convolutions) are met earlier, as the Python functions that they are called by.
"""

from __future__ import annotations

import inspect
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch._ops import OpOverload, OpOverloadPacket
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from initcheck.sources.torch.calls import Call, Ref, Trace
from initcheck.sources.torch.schema import name_of
from initcheck.sources.torch.values import value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    from initcheck.sources.torch.inputs import Example

__all__ = ["dispatch_trace"]

_LIBRARY = (str(Path(torch.__file__).parent), __file__)

_ATEN = torch.ops.aten

WHOLE: dict[Callable[..., Any], Any] = {
    functional.linear: _ATEN.linear.default,
    functional.scaled_dot_product_attention: _ATEN.scaled_dot_product_attention.default,
    torch.conv1d: _ATEN.conv1d,
    torch.conv2d: _ATEN.conv2d,
    torch.conv3d: _ATEN.conv3d,
    torch.conv_transpose1d: _ATEN.conv_transpose1d.default,
    torch.conv_transpose2d: _ATEN.conv_transpose2d.input,
    torch.conv_transpose3d: _ATEN.conv_transpose3d.input,
    torch.lstm: _ATEN.lstm,
    torch.gru: _ATEN.gru,
    torch.rnn_tanh: _ATEN.rnn_tanh,
    torch.rnn_relu: _ATEN.rnn_relu,
    torch.bilinear: _ATEN.bilinear.default,
    torch.gru_cell: _ATEN.gru_cell.default,
    torch.lstm_cell: _ATEN.lstm_cell.default,
    torch.rnn_relu_cell: _ATEN.rnn_relu_cell.default,
    torch.rnn_tanh_cell: _ATEN.rnn_tanh_cell.default,
    torch._VF._pad_packed_sequence: _ATEN._pad_packed_sequence.default,  # noqa: SLF001 - it has no other name
}
"""Functions recorded as one call, and the operator whose schema their arguments follow."""

DROPOUTS: dict[Callable[..., Any], Any] = {
    functional.dropout: _ATEN.dropout.default,
    functional.dropout1d: _ATEN.feature_dropout.default,
    functional.dropout2d: _ATEN.feature_dropout.default,
    functional.dropout3d: _ATEN.feature_dropout.default,
    functional.alpha_dropout: _ATEN.alpha_dropout.default,
}
"""The same for functions that have their own order of arguments: (input, p, training, inplace)."""


def dispatch_trace(
    module: torch.nn.Module,
    example: Example,
    tensors: Mapping[str, torch.Tensor],
    *,
    fake: bool,
    gradients: bool = False,
) -> Trace:
    """Run a module once and write down its operations.

    Args:
        module: The model.
        example: Inputs, on the CPU.
        tensors: What to use for its parameters and buffers, by name (tied ones share a tensor); those of the fake route
            are fake and belong to the active ``FakeTensorMode``.
        fake: Whether that is so: nothing is computed then.
        gradients: Whether the module may differentiate (a network that returns its derivative by its input).

    Raises:
        Exception: Whatever the module raises.
    """
    trace = Trace("forward pass on fake tensors" if fake else "forward pass on a small input")
    recorder = _Recorder(trace)
    for name, tensor in tensors.items():
        if id(tensor) not in recorder.names:
            recorder.name(tensor, name)
            trace.parameters[name] = name
    args, kwargs = example.args, dict(example.kwargs)
    mode = _fake_mode_of(tensors) if fake else None
    if mode is not None:
        args, kwargs = pytree.tree_map_only(torch.Tensor, mode.from_tensor, (args, kwargs))
    leaves = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    for index, leaf in enumerate(leaves):
        trace.inputs.append(recorder.name(leaf, f"input_{index}" if index else "input"))
    with ExitStack() as stack:
        stack.enter_context(torch.set_grad_enabled(gradients))
        if mode is not None:
            stack.enter_context(mode)
        for path, child in module.named_modules():
            stack.callback(child.register_forward_pre_hook(recorder.entering(path, child)).remove)
            stack.callback(child.register_forward_hook(recorder.left, always_call=True).remove)
        stack.enter_context(_Dispatch(recorder))
        stack.enter_context(_Functions(recorder))
        result = torch.func.functional_call(module, dict(tensors), args, kwargs, tie_weights=False)
    trace.outputs = pytree.tree_map_only(torch.Tensor, recorder.ref, result)
    return trace


def _fake_mode_of(tensors: Mapping[str, torch.Tensor]) -> Any:
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    fakes = (tensor.fake_mode for tensor in tensors.values() if isinstance(tensor, FakeTensor))
    return next(fakes, None) or FakeTensorMode()


class _Recorder:
    """Names of the tensors that are alive, and the modules that are running."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.names: dict[int, str] = {}
        self.silent = False
        self._kept: list[torch.Tensor] = []
        # A factory function may hand out another object for the tensor that was seen here.
        self._places: dict[tuple[Any, ...], str] = {}
        self._modules: list[tuple[str, str]] = []
        self._counts: dict[str, int] = {}

    def name(self, tensor: torch.Tensor, wanted: str) -> str:
        """Name a tensor, and keep it so that its id stays its own."""
        name = wanted
        while name in self.trace.values:
            self._counts[wanted] = self._counts.get(wanted, 0) + 1
            name = f"{wanted}_{self._counts[wanted]}"
        self.trace.values[name] = value_of(tensor)
        self.names[id(tensor)] = name
        self._places[_place(tensor)] = name
        self._kept.append(tensor)
        return name

    def ref(self, tensor: torch.Tensor) -> Ref:
        """The tensor by name; one that no recorded operation made is a constant that the module holds."""
        name = self.names.get(id(tensor)) or self._places.get(_place(tensor))
        if name is None:
            name = self.name(tensor, "constant")
            self.trace.constants[name] = tensor
        return Ref(name)

    def record(self, func: OpOverload, args: Any, kwargs: Any, result: Any) -> None:
        """Write down one operation; the result of one that works in place is its argument under a new name."""
        args, kwargs = pytree.tree_map_only(torch.Tensor, self.ref, (args, kwargs))
        flat = list(result) if isinstance(result, (tuple, list)) else [result]
        label = name_of(func).partition("::")[2]
        outputs = tuple(self.name(value, label) if isinstance(value, torch.Tensor) else "" for value in flat)
        path, module_type = self._modules[-1] if self._modules else ("", "")
        self.trace.calls.append(Call(func, name_of(func), args, kwargs, outputs, path, module_type, _frames()))

    def entering(self, path: str, module: torch.nn.Module) -> Callable[..., None]:
        """Hook that notes that a module starts."""
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        return lambda *_: self._modules.append((path, kind))

    def left(self, *_: Any) -> None:
        """Hook that notes that a module is done."""
        self._modules.pop()


class _Dispatch(TorchDispatchMode):
    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.recorder = recorder

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self.recorder.silent and isinstance(func, OpOverload) and name_of(func) not in _SILENT:
            self.recorder.record(func, args, kwargs or {}, result)
        return result


_SILENT = frozenset({"aten::_local_scalar_dense", "aten::detach", "prim::device"})
"""What moves no data, or leaves the world of tensors."""


class _Functions(TorchFunctionMode):
    def __init__(self, recorder: _Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        operator = None if self.recorder.silent else _operator(func)
        if operator is None:
            return func(*args, **kwargs)
        self.recorder.silent = True
        try:
            result = func(*args, **kwargs)
        finally:
            self.recorder.silent = False
        if isinstance(operator, OpOverloadPacket):
            operator = _overload(operator, args, kwargs)
        self.recorder.record(operator, *_as_operator(func, args, kwargs), result)
        return result


def _operator(func: Any) -> Any:
    return _ATEN.einsum.default if func is torch.einsum else WHOLE.get(func) or DROPOUTS.get(func)


def _overload(packet: Any, args: Any, kwargs: Any) -> Any:
    """Which operator of several a call means."""
    if "input" in packet.overloads():
        # A packed sequence has one argument more before the flag for biases: its batch sizes.
        return packet.input if isinstance(args[3], bool) else packet.data
    padding = kwargs.get("padding", args[4] if len(args) > 4 else 0)
    return packet.padding if isinstance(padding, str) else packet.default


def _as_operator(func: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """Arguments in the order of the operator's schema."""
    if func is torch.einsum:
        operands = args[1] if isinstance(args[1], (list, tuple)) else args[1:]
        return (args[0], list(operands)), {}
    if func in DROPOUTS:
        given = inspect.signature(func).bind(*args, **kwargs)
        given.apply_defaults()
        return tuple(given.arguments[name] for name in ("input", "p", "training")), {}
    return args, kwargs


def _place(tensor: torch.Tensor) -> tuple[Any, ...]:
    """Where the elements of a tensor lie."""
    storage = StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]
    return storage.cdata, tensor.dtype, tuple(tensor.shape), tensor.stride(), tensor.storage_offset()


def _frames() -> tuple[tuple[str, int], ...]:
    """Frames outside of torch and this module, outermost first, from the module's call on."""
    found: list[tuple[str, int]] = []
    current: FrameType | None = inspect.currentframe()
    while current is not None:
        file = current.f_code.co_filename
        if not file.startswith(_LIBRARY):
            found.append((file, current.f_lineno))
        elif file == __file__ and current.f_code.co_name == "dispatch_trace":
            break
        current = current.f_back
    return tuple(reversed(found))
