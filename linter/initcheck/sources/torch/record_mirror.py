"""Follows operations on meta tensors with the values that are kept of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_leaves, tree_map

from initcheck.sources.torch.record_law import Law
from initcheck.sources.torch.record_rules import CREATIONS, IGNORES_TARGET, PRESERVING
from initcheck.sources.torch.record_values import SAMPLES, draw, locate, positions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from initcheck.sources.torch.record_content import Content, Contents
    from initcheck.sources.torch.record_marks import Outcome
    from initcheck.sources.torch.record_schema import Operation

__all__ = ["Mirror"]

DATA_LIMIT = 1 << 22
"""Elements up to which results of data and of deterministic creations are computed whole."""

_DETERMINISTIC = frozenset(
    {"arange", "linspace", "logspace", "eye", "tril_indices", "triu_indices", "hann_window", "range"}
)
_IGNORED = frozenset({"device", "dtype", "layout", "pin_memory", "memory_format", "non_blocking", "generator"})
_NORMS = frozenset({"linalg_vector_norm", "norm"})
_REDUCTIONS = _NORMS | {"mean", "std", "var", "sum"}


class Mirror:
    """Keeps values up to date.

    Args:
        contents: What is known of each storage.
    """

    def __init__(self, contents: Contents) -> None:
        self._contents = contents
        self._generator = torch.Generator().manual_seed(0)

    def real(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """Values of a meta tensor, sharing memory with what is kept; None if they are not all kept."""
        if not tensor.is_meta:
            return tensor
        content = self._contents.find(tensor)
        if content is None:
            return None
        if content.values.full is None and content.values.size <= DATA_LIMIT:
            self._spread(content, tensor.dtype)
        full = content.values.full
        if full is None or full.dtype != tensor.dtype or tensor.is_conj() or tensor.is_neg():
            return None
        return full.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())

    def run(self, func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[bool, Any]:
        """Run an operation on values alone: (whether all of them are kept, result)."""
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if any(self.real(tensor) is None for tensor in tensors):
            return False, None
        options = {key: value for key, value in kwargs.items() if key != "pin_memory"}
        if "device" in options:
            options["device"] = torch.device("cpu")
        return True, func(*tree_map(self._swap, args), **tree_map(self._swap, options))

    def follow(
        self,
        operation: Operation,
        func: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        out: object,
        targets: Sequence[torch.Tensor],
        marks: Sequence[Outcome],
    ) -> None:
        """Bring the values of what an operation wrote up to date.

        Args:
            operation: What ran.
            func: Its overload.
            args: Positional arguments, meta tensors among them.
            kwargs: Keyword arguments.
            out: What it returned.
            targets: Tensors that it wrote, mutated ones and new ones.
            marks: What the operation left in each of them, the law of a draw among it.
        """
        contents = [self._contents.of(target) for target in targets]
        for target in targets:
            self.begin(target, anew=operation.name in IGNORES_TARGET, whole=self._is_data(operation, args))
        if self._whole(operation, func, args, kwargs, out, contents):
            return
        for target, content, mark in zip(targets, contents, marks, strict=True):
            if not self._sampled(operation, func, args, kwargs, target, content, mark):
                content.values.forget()

    def _spread(self, content: Content, dtype: torch.dtype) -> None:
        """Keep all values of a large constant, now that they are asked for."""
        (mark, _), *others = content.regions.read()
        if not others and isinstance(mark, Law) and mark.value is not None:
            content.values.full = torch.full((content.values.size,), mark.value, dtype=dtype, device="cpu")
            content.values.sample = None

    def _is_data(self, operation: Operation, args: Sequence[Any]) -> bool:
        """Whether an operation copies data of which all values are kept."""
        source = self._contents.find(args[1]) if operation.name == "copy_" else None
        return source is not None and SAMPLES < source.values.size <= DATA_LIMIT and source.values.full is not None

    def _swap(self, leaf: object) -> object:
        return self.real(leaf) if isinstance(leaf, torch.Tensor) else leaf

    def begin(self, target: torch.Tensor, *, anew: bool = True, whole: bool = False) -> None:
        """Give a blank storage memory for its values, also one that is about to be overwritten as a whole.

        Args:
            target: A meta tensor; any other has values of its own.
            anew: Whether what is about to be written does not depend on what was there.
            whole: Whether all values will be known, however many.
        """
        if not target.is_meta:
            return
        content = self._contents.of(target)
        values = content.values
        if not (content.blank or (anew and target.numel() >= values.size)):
            return
        if values.size > SAMPLES and not whole:
            values.full = None
            values.sample = torch.zeros(SAMPLES, dtype=torch.float64, device="cpu")
        elif values.full is None or values.full.dtype != target.dtype:
            values.full = torch.zeros(values.size, dtype=target.dtype, device="cpu")

    def place(self, target: torch.Tensor, drawn: torch.Tensor) -> None:
        """Let the kept values that a tensor shows be these independent draws.

        Args:
            target: A meta tensor of a large storage.
            drawn: ``SAMPLES`` values, of which as many are used as are needed.
        """
        values = self._contents.of(target).values
        place = locate(positions(values.size), int(target.storage_offset()), target.shape, target.stride())
        if values.sample is None or place is None:
            values.forget()
            return
        inside = place[0]
        values.sample = values.sample.clone()
        values.sample[inside] = drawn[: int(inside.sum())]

    def _whole(
        self,
        operation: Operation,
        func: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        out: object,
        contents: Sequence[Content],
    ) -> bool:
        """Run an operation on all values; False where some are missing or they would be too many."""
        limit = SAMPLES if operation.name in CREATIONS and operation.name not in _DETERMINISTIC else DATA_LIMIT
        new = [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)]
        if any(content.values.size > limit for content in contents):
            return False
        if operation.mutated and any(content.values.full is None for content in contents):
            return False
        try:
            done, result = self.run(func, args, kwargs)
        except (RuntimeError, NotImplementedError):
            return False
        if not done:
            return False
        if not operation.mutated:
            for leaf, value in zip(new, (v for v in tree_leaves(result) if isinstance(v, torch.Tensor)), strict=True):
                self.keep(leaf, value)
        return True

    def keep(self, tensor: torch.Tensor, value: torch.Tensor) -> None:
        """Keep all values of a new tensor, unless the kernel for values makes another tensor than that for meta."""
        values = self._contents.of(tensor).values
        if value.shape != tensor.shape or value.dtype != tensor.dtype:
            values.forget()
            return
        full = torch.zeros(values.size, dtype=value.dtype, device="cpu")
        full.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset()).copy_(value)
        values.full, values.sample = full, None

    def _sampled(
        self,
        operation: Operation,
        func: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        target: torch.Tensor,
        content: Content,
        mark: Outcome,
    ) -> bool:
        """Run an operation at the kept positions; False where it cannot be."""
        values = content.values
        if values.size <= SAMPLES:
            return self._reduced(operation, args, kwargs, target, content)
        if values.full is not None and not target.dtype.is_complex:
            values.sample, values.full = values.at(positions(values.size)), None
        place = locate(positions(values.size), int(target.storage_offset()), target.shape, target.stride())
        if values.sample is None or place is None or target.element_size() != content.itemsize:
            return False
        inside, index = place
        fresh: torch.Tensor | None
        if operation.name in CREATIONS and isinstance(mark, Law):
            fresh = draw(mark, len(index[0]) if index else 1, self._generator)
        elif (
            operation.is_pointwise
            or operation.name in PRESERVING
            or (operation.name in CREATIONS and operation.mutated)
        ):
            fresh = self._pointwise(operation, func, args, kwargs, target, index)
        else:
            fresh = None
        if fresh is None or fresh.is_complex():
            return False
        if not operation.mutated and fresh.dtype != torch.float64:
            values.sample = values.sample.to(fresh.dtype)
        if target.is_floating_point() and fresh.is_floating_point():
            fresh = fresh.to(target.dtype)
        values.sample = values.sample.clone()
        values.sample[inside] = fresh.to(values.sample.dtype)
        return True

    def _pointwise(
        self,
        operation: Operation,
        func: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        target: torch.Tensor,
        index: tuple[torch.Tensor, ...],
    ) -> torch.Tensor | None:
        """Values of a pointwise operation at these places of its target; None where an operand is not known there."""
        missing = False

        def pick(leaf: object) -> object:
            nonlocal missing
            if not isinstance(leaf, torch.Tensor):
                return leaf
            if operation.name in IGNORES_TARGET and operation.mutated and leaf is target:
                return torch.zeros(len(index[0]) if index else 1, dtype=torch.float64, device="cpu")
            picked = self._gather(leaf, target, index)
            missing = missing or picked is None
            return picked

        picked_args = tree_map(pick, args)
        options = {key: tree_map(pick, value) for key, value in kwargs.items() if key not in _IGNORED}
        if missing:
            return None
        if operation.name in PRESERVING:
            return torch.as_tensor(picked_args[1 if operation.name == "copy_" else 0])
        try:
            result = func(*picked_args, **options)
        except (RuntimeError, NotImplementedError, TypeError):
            return None
        return result if isinstance(result, torch.Tensor) else None

    def _gather(
        self, tensor: torch.Tensor, target: torch.Tensor, index: tuple[torch.Tensor, ...]
    ) -> torch.Tensor | None:
        """A tensor's values at the places where its broadcast meets these places of the target, a copy."""
        if tensor.dim() > target.dim() or tensor.is_complex():
            return None
        where = torch.full((len(index[0]) if index else 1,), int(tensor.storage_offset()), device="cpu")
        lead = target.dim() - tensor.dim()
        for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
            if size not in {1, target.shape[lead + axis]}:
                return None
            if size != 1:
                where = where + index[lead + axis] * stride
        if not tensor.is_meta:
            flat = torch.empty(0, dtype=tensor.dtype, device="cpu").set_(tensor.detach().untyped_storage())
            found = flat[where]
            return found.double() if found.is_floating_point() else found
        content = self._contents.find(tensor)
        if content is None or tensor.element_size() != content.itemsize:
            return None
        values = content.values
        kept = positions(values.size) if values.full is None and values.size > SAMPLES else None
        if kept is not None and torch.equal(where, kept):
            return values.sample.clone() if values.sample is not None else None
        picked = values.at(where)
        return picked.clone() if picked is not None else None

    def _reduced(
        self,
        operation: Operation,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        target: torch.Tensor,
        content: Content,
    ) -> bool:
        """A mean, norm or deviation of a whole large tensor, estimated from its kept values."""
        if (
            operation.name not in _REDUCTIONS
            or target.numel() != 1
            or not args
            or not isinstance(args[0], torch.Tensor)
        ):
            return False
        source = self._contents.find(args[0])
        if source is None or source.values.sample is None or not source.is_whole(args[0]):
            return False
        sample, scale = source.values.sample.double(), source.values.size / SAMPLES
        order = args[1] if len(args) > 1 else 2
        if operation.name in _NORMS:
            if order not in {None, 2}:
                return False
            value = sample.norm() * math.sqrt(scale)
        elif operation.name == "sum":
            value = sample.sum() * scale
        else:
            options = {key: value for key, value in kwargs.items() if key == "correction"}
            value = getattr(torch, operation.name)(sample, **options)
        content.values.full = torch.zeros(content.values.size, dtype=target.dtype, device="cpu")
        content.values.full[target.storage_offset()] = value.to(target.dtype)
        return True
