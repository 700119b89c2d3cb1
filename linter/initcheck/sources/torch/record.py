"""Records by which law each tensor of a module is drawn, while a factory builds it.

Three layers, each of which sees what the others cannot: ``nn.init`` functions (some return at once on the meta device),
every operation that reaches the dispatcher, and values that are kept beside meta tensors for what no law describes.
What is known belongs to storages, so that views, ``.data`` and assignments of parameters need no care of their own.
"""

from __future__ import annotations

import itertools
import math
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from initcheck.construction import Effect
from initcheck.sources.torch.record_content import Content, Contents, Origin, combine
from initcheck.sources.torch.record_history import Entry, Writer, spell
from initcheck.sources.torch.record_law import Law, constant
from initcheck.sources.torch.record_marks import Marker, Outcome
from initcheck.sources.torch.record_mirror import Mirror
from initcheck.sources.torch.record_modes import storage_key, without_functions
from initcheck.sources.torch.record_regions import CLOUDED, Mark, Regions
from initcheck.sources.torch.record_rules import CREATIONS, FIXED, IGNORES_TARGET, PRESERVING, is_empty
from initcheck.sources.torch.record_schema import Operation, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = ["META", "OutOfBudget", "Recorder"]

META = torch.device("meta")

LITERAL = 64
"""How many numbers somebody may have written by hand; more were computed, or drawn."""

_ASKS_FOR_VALUES = frozenset({"_local_scalar_dense", "equal", "is_nonzero", "allclose"})
_RESHAPING = frozenset({"set", "resize", "resize_as"})
_SILENT = frozenset({"clone", "_to_copy", "contiguous", "_unsafe_view", "lift_fresh_copy", "view_copy"})


class OutOfBudget(Exception):  # noqa: N818 - says what happened, no more
    """Tensors take more memory than they may."""


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records while it is the current dispatch mode.

    Args:
        root: Folder of the user's project, for the lines of writes.
        on_meta: Whether all new tensors go to the meta device.
        max_memory: Bytes that tensors may take at a time.

    Attributes:
        initializer: Initialiser that is running, as people spell it; empty for none.
        awaiting: Whether the user asks for the meta device just now.
    """

    def __init__(self, root: Path, *, on_meta: bool, max_memory: float = math.inf) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.contents = Contents()
        self.marker = Marker(self.contents)
        self.mirror = Mirror(self.contents)
        self.on_meta = on_meta
        self.max_memory = max_memory
        self.initializer = ""
        self.awaiting = False
        self._writer = Writer(root, _WATCH)
        self._versions = itertools.count(1)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: to keep the compiler off this mode torch would import it, a second of CPU time."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation and note what it wrote."""
        kwargs = dict(kwargs or {})
        operation = describe(func)
        # What follows is not the user's, so that his function modes are not to see it.
        with without_functions():
            if self.on_meta:
                if operation.name == "lift_fresh":
                    return self._literal(args[0])
                args, kwargs = self._redirect(operation, args, kwargs)
                if operation.name in _ASKS_FOR_VALUES:
                    return self._value(func, args, kwargs)
            if operation.stem in {"resize", "resize_as"}:
                self.contents.forget(args[0])
            if operation.is_view or not operation.gives_tensors or operation.stem in _RESHAPING:
                return func(*args, **kwargs)
            return self._record(operation, func, args, kwargs)

    def twin(self, tensor: torch.Tensor, origin: Origin = Origin.DATA) -> torch.Tensor:
        """A meta tensor that stands for a real one and shares its memory.

        Args:
            tensor: Data that came from elsewhere; a meta tensor is returned as it is.
            origin: Where its values come from.
        """
        if tensor.is_meta or tensor.layout is not torch.strided:
            return tensor
        content = self.adopt(tensor, origin)
        base = torch.empty(content.values.size, dtype=tensor.dtype, device=META)
        self.contents.share(base, content)
        result = base.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
        return result.requires_grad_(tensor.requires_grad) if tensor.requires_grad else result

    def adopt(self, tensor: torch.Tensor, origin: Origin = Origin.DATA) -> Content:
        """Content of a real tensor, begun from its values where it was made out of sight."""
        known = self.contents.find(tensor)
        content = known or self.contents.of(tensor)
        if content.values.full is None:
            content.values.full = torch.empty(0, dtype=tensor.dtype, device=tensor.device).set_(
                tensor.detach().untyped_storage()
            )
        if known is None:
            content.blank, content.origin = False, origin
            # More than a number may be memory of numpy's, which is written unseen.
            if tensor.is_floating_point() and content.values.size == 1:
                content.regions.fill(constant(float(content.values.full)))
        return content

    def _literal(self, tensor: torch.Tensor) -> torch.Tensor:
        """A tensor made of numbers; an empty one stays, since transformers asks it for the default device."""
        if not tensor.numel() or self._is_importing():
            return tensor
        by_hand = tensor.numel() <= LITERAL and all(map(_is_short, tensor.flatten().tolist()))
        return self.twin(tensor, Origin.FIXED if by_hand else Origin.DATA)

    def write(self, tensor: torch.Tensor, mark: Mark, origin: Origin) -> None:
        """Note that the initialiser named by ``initializer`` wrote a tensor."""
        self._paint(tensor, mark, self.initializer, Effect.RENEW, origin=origin)

    def watch(self, factory: Callable[[], object]) -> object:
        """Call a factory; tensors that modules make when it imports them stay real, since they outlive it."""
        return factory()

    def hand_out(self, tensor: torch.Tensor) -> None:
        """The address of a tensor becomes known, so that it may be written unseen."""
        content = self.contents.find(tensor)
        if content is not None:
            content.unsettle()

    def _is_importing(self) -> bool:
        frame = sys._getframe(1)  # noqa: SLF001 - the documented way to the calling frame
        while frame is not None and frame.f_code is not _WATCH:
            if frame.f_code.co_name == "<module>":
                return True
            frame = frame.f_back  # type: ignore[assignment]
        return False

    def inherit(self, target: torch.Tensor, value: torch.Tensor) -> None:
        """Let what is about to become the data of ``target`` go on with its history."""
        before, after = self.contents.find(target), self.contents.of(value)
        if before is None or before is after or not before.history:
            return
        if after.history[: len(before.history)] != before.history:
            # What came with the allocation of the new data is what somebody wanted there.
            chosen = [replace(entry, write=replace(entry.write, default=False)) for entry in after.history]
            after.history = [*before.history, *chosen]

    def expose(self, tensor: torch.Tensor, *, readonly: bool) -> torch.Tensor | None:
        """Values of a tensor, None if they are not all kept; laws end where values may be written unseen."""
        real = self.mirror.real(tensor)
        if real is not None and not readonly and _is_plain(tensor):
            content = self.contents.of(tensor)
            content.regions.fill(CLOUDED if self.marker.is_absent(tensor) else None)
            content.blank = False
        return real

    def _redirect(
        self, operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Send new tensors to the meta device, and real operands of meta ones after them."""
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        wanted = operation.has_device and (not tensors or kwargs.get("device") is not None)
        if wanted and not self._is_importing():
            kwargs["device"] = META
            if kwargs.get("pin_memory"):
                kwargs["pin_memory"] = False
        on_meta = [tensor.is_meta for tensor in tensors]
        if any(on_meta) and not all(on_meta):
            bound = operation.bind(args, kwargs)
            kept = {id(bound.get(name)) for name in operation.mutated}

            def swap(leaf: object) -> object:
                return self.twin(leaf) if isinstance(leaf, torch.Tensor) and id(leaf) not in kept else leaf

            args, kwargs = tree_map(swap, args), tree_map(swap, kwargs)
        return args, kwargs

    def _value(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """A number that the factory asks for, from the values that are kept or from a constant law.

        Raises:
            RuntimeError: If it is not known, as torch does for any tensor on the meta device.
        """
        done, value = self.mirror.run(func, args, kwargs)
        if done:
            return value
        mark = self.marker.mark(args[0]) if len(args) == 1 else None
        if isinstance(mark, Law) and mark.value is not None:
            return torch.tensor(mark.value, dtype=args[0].dtype, device="cpu").item()
        raise RuntimeError("the value of a tensor on the meta device is not known")

    def _record(self, operation: Operation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        bound = operation.bind(args, kwargs)
        mutated = [leaf for name in operation.mutated for leaf in tree_leaves(bound.get(name)) if _is_plain(leaf)]
        read = self._operands(operation, args, kwargs, mutated)
        for leaf in tree_leaves((args, kwargs)):
            if _is_plain(leaf) and self.contents.find(leaf) is None:
                self._meet(leaf)
        out = self._run(operation, func, args, kwargs)
        shared = {storage_key(leaf) for leaf in (*read, *mutated)}
        new = [leaf for leaf in tree_leaves(out) if _is_plain(leaf) and storage_key(leaf) not in shared]
        targets = [*mutated, *new]
        outcomes = [self.marker.outcome(operation, func, bound, read, target) for target in targets]
        if self.on_meta and not is_empty(operation.name):
            if any(self.marker.is_absent(leaf) for leaf in read):
                for target in targets:
                    self.contents.of(target).values.forget()
            else:
                self.mirror.follow(operation, func, args, kwargs, out, targets, outcomes)
        for target, outcome in zip(targets, outcomes, strict=True):
            self._note(operation, bound, read, target, outcome, is_new=any(target is leaf for leaf in new))
        if self.contents.held > self.max_memory:
            raise OutOfBudget(self.max_memory)
        return out

    def _meet(self, tensor: torch.Tensor) -> None:
        """A tensor that was made out of sight: its values count if it has any."""
        if tensor.is_meta:
            self.contents.of(tensor).blank = False
        else:
            self.adopt(tensor)

    def _operands(
        self, operation: Operation, args: tuple[Any, ...], kwargs: dict[str, Any], mutated: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Tensors whose values an operation depends on."""
        if operation.name in CREATIONS or is_empty(operation.name):
            return []
        overwritten = operation.name in IGNORES_TARGET or "out" in operation.mutated
        unread = {id(leaf) for leaf in mutated} if overwritten else set()
        return [leaf for leaf in tree_leaves((args, kwargs)) if _is_plain(leaf) and id(leaf) not in unread]

    def _run(self, operation: Operation, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operation; one without a kernel for the meta device on the values."""
        if operation.name == "normal_" and args[0].is_meta and operation.bind(args, kwargs).get("std", 1.0) >= 0:
            # torch's own, written in Python, imports the compiler: a second of CPU time to do nothing.
            return args[0]
        try:
            return func(*args, **kwargs)
        except (NotImplementedError, RuntimeError):
            if not self.on_meta or operation.mutated:
                raise
            done, value = self.mirror.run(func, args, kwargs)
            if not done:
                raise
            return tree_map(lambda leaf: self.twin(leaf) if isinstance(leaf, torch.Tensor) else leaf, value)

    def _note(
        self,
        operation: Operation,
        bound: dict[str, Any],
        read: Sequence[torch.Tensor],
        target: torch.Tensor,
        outcome: Outcome,
        *,
        is_new: bool,
    ) -> None:
        """Enter what an operation left in a target, and the history that comes with its operands."""
        content = self.contents.of(target)
        found = [self.contents.find(leaf) for leaf in read]
        origins = [source for source in found if source is not None and source is not content]
        inherited = next((source for source in origins if source.history), None)
        if is_new:
            content.history = list(inherited.history) if inherited is not None else content.history
            content.awaited = self.awaiting or any(source.awaited for source in origins)
        drawn = operation.name in CREATIONS and operation.name not in FIXED
        origin = max([Origin.DRAWN if drawn else Origin.FIXED, *(source.origin for source in origins)])
        if is_empty(operation.name):
            content.regions.fill(outcome)
            content.allocation = self._writer.write(operation.name, allocation=True)
            return
        shown = {key: value for key, value in bound.items() if key not in _UNTOLD}
        label = "" if operation.name in _SILENT else self.initializer or spell(operation.name, shown)
        if operation.name in {"copy_", "fill_"} and isinstance(outcome, Law) and outcome.value is not None:
            label, inherited = self.initializer or f"fill_({outcome.value:.6g})", None
        effect = Effect.CHANGE if operation.name not in IGNORES_TARGET or (is_new and read) else Effect.RENEW
        if operation.name == "copy_" and not (isinstance(outcome, Law) and outcome.value is not None):
            effect = Effect.COPY
        self._paint(target, outcome, label, effect, origin=origin, allocation=is_new and not read)
        if operation.name in PRESERVING and read and self.marker.is_copy(read[-1], target):
            content.version = self.contents.of(read[-1]).version
        if operation.name == "copy_" and inherited is not None:
            content.history[-1:] = [*inherited.history, *content.history[-1:]]

    def _paint(
        self,
        tensor: torch.Tensor,
        outcome: Outcome,
        label: str,
        effect: Effect,
        *,
        origin: Origin,
        allocation: bool = False,
    ) -> None:
        """Mark the elements of a tensor, and enter the write into the history of its storage."""
        content = self.contents.of(tensor)
        runs = content.runs(tensor)
        if runs is None or not content.regions.is_whole(runs):
            effect = Effect.CHANGE
        elif effect is not Effect.CHANGE and not allocation:
            content.origin = Origin.FIXED
        content.origin = max(content.origin, origin)
        if isinstance(outcome, Regions):
            content.regions = outcome
        elif callable(outcome):
            content.regions.update(runs, outcome)
        else:
            content.regions.paint(runs, outcome)
        content.blank = False
        content.version = next(self._versions)
        if label:
            write = self._writer.write(label, effect, allocation=allocation)
            content.history.append(Entry(write, combine(content.regions.read())))


_UNTOLD = frozenset({"self", "size", "dtype", "layout", "device", "pin_memory", "generator", "dim"})

_WATCH = Recorder.watch.__code__


def _is_short(number: complex) -> bool:
    """Whether a number has few digits, which one that was drawn has not."""
    if isinstance(number, complex) or not math.isfinite(number):
        return False
    return abs(float(f"{number:.4g}") - number) <= 1e-7 * abs(number)


def _is_plain(leaf: object) -> bool:
    return isinstance(leaf, torch.Tensor) and leaf.layout is torch.strided
