"""Which stored tensors were learned, and which belong to a formula."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.sources.onnx.known import known_tensor
from initcheck.sources.onnx.paths import is_anonymous, is_variable

if TYPE_CHECKING:
    from initcheck.sources.onnx.builder import Builder
    from initcheck.sources.onnx.known import Known
    from initcheck.sources.onnx.read import ModelFile
    from initcheck.sources.onnx.tensor import TensorRef

__all__ = ["count_learned", "initializer", "stored"]

_FLOATS = ("float", "bfloat")

_STATISTICS = ("running_mean", "running_var", "moving_mean", "moving_variance")


def stored(ref: TensorRef) -> Known:
    """A Constant node's tensor, or an initialiser of a branch: learned where it holds several floats."""
    return known_tensor(ref, learned=ref.dtype.startswith(_FLOATS) and ref.size > 1)


def initializer(ref: TensorRef, producer: str) -> Known:
    """An initialiser: learned where it holds several floats, or one that is named as parameters are.

    One number is an epsilon or a scale, unless it is a gate as ReZero and SkipInit have: its name is a path
    (``blocks.0.gate``) or that of a variable, or torch wrote it with an axis, as no number of a formula has.
    """
    if ref.size != 1 or not ref.dtype.startswith(_FLOATS):
        return stored(ref)
    gate = "." in ref.name or is_variable(ref.name) or (producer.startswith("pytorch") and bool(ref.shape))
    return known_tensor(ref, learned=gate and not is_anonymous(ref.name))


def count_learned(file: ModelFile, build: Builder) -> int:
    """Elements of all learned tensors, running statistics left out."""
    learned = 0
    for name, ref in file.tensors.items():
        known = build.known.get(name)
        if known is not None and known.origin is not None and not name.endswith(_STATISTICS):
            learned += ref.size
    return learned
