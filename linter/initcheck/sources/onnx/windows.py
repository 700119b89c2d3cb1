"""Sliding windows of convolutions and pools: kernel, strides, dilations and padding on both sides of each axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from initcheck.sources.onnx.builder import NotUnderstoodError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from initcheck.sources.onnx.call import Call

__all__ = ["read_window"]


def read_window(
    call: Call,
    kernel: Sequence[int],
    shape: Sequence[int] | None,
    *,
    transposed: bool = False,
    output_padding: Sequence[int] = (),
    output_shape: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Window attributes as ``Op`` documents them.

    Args:
        call: Node with ``strides``, ``dilations``, ``pads`` or ``auto_pad``, all optional.
        kernel: Size per spatial axis.
        shape: Shape of the input, needed by ``auto_pad`` SAME_* and by ``output_shape``.
        transposed: Whether padding is cut off the output, as a transposed convolution does.
        output_padding: Added at the end of each axis of a transposed convolution's output.
        output_shape: Spatial sizes that a transposed convolution was told to have.

    Raises:
        NotUnderstoodError: If the padding depends on an unknown size, or the lists and the kernel differ in length.
    """
    axes = len(kernel)
    strides = call.ints("strides") or (1,) * axes
    dilations = call.ints("dilations") or (1,) * axes
    pads = call.ints("pads") or (0,) * (2 * axes)
    if not len(strides) == len(dilations) == axes or len(pads) != 2 * axes:
        raise NotUnderstoodError
    padding = tuple(zip(pads[:axes], pads[axes:], strict=True))
    mode = call.text("auto_pad", "NOTSET")
    if mode == "VALID":
        padding = ((0, 0),) * axes
    elif mode.startswith("SAME") or output_shape is not None:
        if shape is None or len(shape) != axes + 2:
            raise NotUnderstoodError
        totals = []
        for axis, size in enumerate(shape[2:]):
            reach, stride = (kernel[axis] - 1) * dilations[axis] + 1, strides[axis]
            if transposed:
                extra = output_padding[axis] if output_padding else 0
                wanted = output_shape[-axes:][axis] if output_shape else size * stride
                totals.append(stride * (size - 1) + extra + reach - wanted)
            else:
                totals.append((-(-size // stride) - 1) * stride + reach - size)
        padding = tuple(_halves(max(total, 0), upper=(mode == "SAME_UPPER") is not transposed) for total in totals)
    return {
        "kernel": tuple(kernel),
        "strides": tuple(strides),
        "dilations": tuple(dilations),
        "padding": padding,
    }


def _halves(total: int, *, upper: bool) -> tuple[int, int]:
    """Padding before and after, the odd one after where ``upper``."""
    half = total // 2
    return (half, total - half) if upper else (total - half, half)
