"""Blocks of an image as columns of a matrix, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from initcheck.graph import Op, Value
from initcheck.sources.torch.lowering.bound import NotUnderstoodError

if TYPE_CHECKING:
    from initcheck.sources.torch.lowering.bound import Bound
    from initcheck.sources.torch.lowering.builder import Builder

__all__ = ["HANDLERS"]


def _patches(call: Bound, build: Builder) -> None:
    """Blocks of an image as columns, (N, C k², L); where they overlap, values are repeated."""
    x, shape = build.activation(call, call["self"]), build.shape(call["self"])
    if len(shape) != 4:
        raise NotUnderstoodError
    kernel, stride, padding, dilation = (
        tuple(int(size) for size in call[name]) for name in ("kernel_size", "stride", "padding", "dilation")
    )
    batch, channels, *image = shape
    counts = [
        (size + 2 * pad - step * (length - 1) - 1) // apart + 1
        for size, pad, length, apart, step in zip(image, padding, kernel, stride, dilation, strict=True)
    ]
    dtype = call.result.dtype
    laid = (batch, channels, counts[0] * kernel[0], counts[1] * kernel[1])
    if laid != (batch, channels, *image):
        target, value = build.temporary(call, Value(laid, dtype))
        x = build.emit(call, Op.RESIZE, (x,), (target,), result=value, mode="nearest")
    inside = torch.nn.functional.unfold(torch.ones(1, 1, *image), kernel, dilation, padding, stride)
    if any(padding) and not bool(inside.all()):
        mask = inside.reshape(1, *kernel, *counts).permute(0, 3, 1, 4, 2).reshape(1, 1, *laid[2:])
        target, value = build.temporary(call, Value(laid, dtype))
        x = build.emit(call, Op.MUL, (x, build.constant(mask)), (target,), result=value)
    split = (batch, channels, counts[0], kernel[0], counts[1], kernel[1])
    target, value = build.temporary(call, Value(split, dtype))
    x = build.emit(call, Op.RESHAPE, (x,), (target,), result=value)
    order = (0, 1, 3, 5, 2, 4)
    target, value = build.temporary(call, Value(tuple(split[axis] for axis in order), dtype))
    x = build.emit(call, Op.TRANSPOSE, (x,), (target,), result=value, permutation=order)
    build.emit(call, Op.RESHAPE, (x,), (call.output,))


def _from_patches(call: Bound, build: Builder) -> None:
    """An image of columns that do not overlap, (N, C k², L)."""
    x, shape = build.activation(call, call["self"]), build.shape(call["self"])
    kernel, stride, padding, dilation = (
        tuple(int(size) for size in call[name]) for name in ("kernel_size", "stride", "padding", "dilation")
    )
    image = call.result.shape or ()
    whole = len(shape) == 3 and all(size % length == 0 for size, length in zip(image[2:], kernel, strict=True))
    if not whole or kernel != stride or any(padding) or any(step != 1 for step in dilation):
        raise NotUnderstoodError
    counts = [size // length for size, length in zip(image[2:], kernel, strict=True)]
    split = (*image[:2], *kernel, *counts)
    target, value = build.temporary(call, Value(split, call.result.dtype))
    x = build.emit(call, Op.RESHAPE, (x,), (target,), result=value)
    order = (0, 1, 4, 2, 5, 3)
    target, value = build.temporary(call, Value(tuple(split[axis] for axis in order), call.result.dtype))
    x = build.emit(call, Op.TRANSPOSE, (x,), (target,), result=value, permutation=order)
    build.emit(call, Op.RESHAPE, (x,), (call.output,))


HANDLERS = {"col2im": _from_patches, "im2col": _patches}
