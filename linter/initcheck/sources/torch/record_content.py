"""All that is known of one storage, and the storages that are known."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Any

from initcheck.sources.torch.record_law import Law, mixture
from initcheck.sources.torch.record_modes import storage_key
from initcheck.sources.torch.record_regions import CLOUDED, GARBAGE, Absence, Mark, Regions, Runs, view_runs
from initcheck.sources.torch.record_values import Values

if TYPE_CHECKING:
    import torch

    from initcheck.construction import Write
    from initcheck.sources.torch.record_history import Entry

__all__ = ["Content", "Contents", "Origin", "combine"]


class Origin(IntEnum):
    """Where values come from; what is computed from several has the greatest."""

    FIXED = 0
    """The same each time."""
    DATA = 1
    """Given as data, drawn or not."""
    DRAWN = 2
    """Drawn."""


@dataclass(slots=True)
class Content:
    """What is known of a storage.

    Attributes:
        itemsize: Bytes of its elements; a view with others shows nothing.
        regions: Which law wrote which part.
        values: Some or all of its values, for tensors without values of their own.
        history: Writes in order.
        allocation: What allocated it, None where that was out of sight.
        awaited: Whether its user put it on the meta device, so that its memory, and what is in it, come later.
        origin: Where its values come from.
        blank: Whether nothing was written yet, so that values may be begun.
        version: Number of what all of it holds: that of the last write, or of the storage that it is a whole copy of.
    """

    itemsize: int
    regions: Regions
    values: Values
    history: list[Entry] = field(default_factory=list)
    allocation: Write | None = None
    awaited: bool = False
    origin: Origin = Origin.FIXED
    blank: bool = True
    version: int = 0

    def runs(self, tensor: torch.Tensor) -> Runs | None:
        """Elements that a tensor shows of this storage; None where they cannot be told."""
        if tensor.element_size() != self.itemsize:
            return None
        return view_runs(int(tensor.storage_offset()), tensor.shape, tensor.stride())

    def is_whole(self, tensor: torch.Tensor) -> bool:
        """Whether a tensor shows all of the storage, each element once and in order."""
        return tensor.element_size() == self.itemsize and tensor.numel() == self.regions.size and tensor.is_contiguous()

    def unsettle(self) -> None:
        """What nothing wrote may have been written unseen."""
        self.regions = self.regions.map(lambda mark: CLOUDED if mark is GARBAGE else mark)

    def mark(self, tensor: torch.Tensor) -> Mark:
        """Mark of an element anywhere in a tensor."""
        runs = self.runs(tensor)
        return combine(self.regions.read(runs)) if runs is not None else None


def combine(parts: list[tuple[Mark, int]]) -> Mark:
    """One mark for several parts: the mixture of their laws, ``CLOUDED`` where some of it is absent."""
    marks = [mark for mark, _ in parts]
    if len(marks) == 1:
        return marks[0]
    if any(isinstance(mark, Absence) for mark in marks):
        return GARBAGE if all(mark is GARBAGE for mark in marks) else CLOUDED
    if not marks or not all(isinstance(mark, Law) for mark in marks):
        return None
    return mixture(parts)


class Contents:
    """Contents by storage, forgotten when the storage is freed.

    Attributes:
        held: Bytes of the known storages that have memory.
    """

    def __init__(self) -> None:
        self.held = 0
        self._known: dict[int, tuple[weakref.ref[Any], Content]] = {}

    def find(self, tensor: torch.Tensor) -> Content | None:
        """What is known of a tensor's storage."""
        entry = self._known.get(storage_key(tensor))
        return entry[1] if entry is not None else None

    def of(self, tensor: torch.Tensor) -> Content:
        """Content of a tensor's storage, begun as unknown where there is none."""
        storage, key = tensor.untyped_storage(), storage_key(tensor)
        entry = self._known.get(key)
        if entry is None:
            size = max(storage.nbytes() // max(tensor.element_size(), 1), 1)
            entry = self._keep(key, storage, Content(tensor.element_size(), Regions(size, None), Values(size)))
        return entry[1]

    def forget(self, tensor: torch.Tensor) -> None:
        """Nothing is known of a tensor's storage any more."""
        self._known.pop(storage_key(tensor), None)

    def share(self, tensor: torch.Tensor, content: Content) -> None:
        """Let a tensor's storage have the content of another of its size."""
        self._keep(storage_key(tensor), tensor.untyped_storage(), content)

    def _keep(self, key: int, storage: Any, content: Content) -> tuple[weakref.ref[Any], Content]:
        taken = storage.nbytes() if storage.device.type != "meta" else 0
        self.held += taken

        def freed(_: object) -> None:
            self.held -= taken
            self._known.pop(key, None)

        entry = self._known[key] = (weakref.ref(storage, freed), content)
        return entry
