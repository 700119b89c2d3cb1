"""What a factory built, and what is known of each of its tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch

    from initcheck.construction import Write
    from initcheck.distribution import Distribution
    from initcheck.graph import RowFacts

__all__ = ["Built", "RecordedTensor"]


@dataclass(frozen=True, slots=True)
class RecordedTensor:
    """A parameter or buffer and how it came by its initial values.

    Attributes:
        name: Name in the module, with the prefixes of its parents.
        shape: Its shape.
        dtype: Element type as numpy spells it, or ``bfloat16``.
        distribution: Law of its elements: exact where it was recorded from initialisers, with ``exact=False`` where it
            was estimated from values. None where it is not known; an integer or complex tensor has none.
        history: Writes in order, those of the tensors it was computed from included.
        written: False when nothing ever wrote it, neither initialiser nor assignment: its memory is whatever was there.
        allocation: What allocated its memory, None where that was out of sight.
        awaited: Whether its user put it on the meta device, so that its memory, and what is in it, come later.
        tied_to: First name of the same tensor, empty for the first one itself.
        values: The elements in float64 where they are no draw and few (positions, masks, scales); None otherwise.
        is_buffer: Whether it is a buffer, not a parameter.
        is_attribute: Whether it became a buffer only here: its module keeps it as a plain attribute.
        rows: Facts of its rows by its first axis, where its values were looked at.
        content: Key that copies of one draw share; empty where there is none.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    distribution: Distribution | None
    history: tuple[Write, ...] = ()
    written: bool = True
    allocation: Write | None = None
    awaited: bool = False
    tied_to: str = ""
    values: np.ndarray | None = field(default=None, compare=False)
    is_buffer: bool = False
    is_attribute: bool = False
    rows: RowFacts | None = None
    content: str = ""


@dataclass(frozen=True, slots=True)
class Built:
    """A module with the initial distributions of its tensors.

    Attributes:
        module: The module, its tensors on the meta device where ``on_meta`` says so.
        example: Example inputs where the factory returned ``(module, example)``: a tuple of arguments or a dict of
            keyword arguments.
        parameters: Name -> tensor for every parameter and buffer, all names of a tied one included.
        on_meta: Whether the module's tensors hold no values.
        notes: Sentences for the report: why the model was built for real, what stays unknown.
    """

    module: torch.nn.Module
    example: tuple[Any, ...] | dict[str, Any] | None
    parameters: Mapping[str, RecordedTensor]
    on_meta: bool
    notes: tuple[str, ...] = ()
