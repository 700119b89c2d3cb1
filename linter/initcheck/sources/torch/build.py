"""A factory called under the recorder: on the meta device where that works, for real where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.sources.torch.built import Built, RecordedTensor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Built", "RecordedTensor", "build"]


def build(factory: Callable[[], object], *, max_memory: int, root: Path, example: object = None) -> Built:
    """Call a factory and say by which law each tensor of its module is drawn.

    The factory runs on the meta device. Tensors whose law is not certain cause a second call for real when their
    model fits ``max_memory``; a factory that fails on the meta device is called for real at once.

    Args:
        factory: Returns a module, or ``(module, example inputs)``.
        max_memory: Bytes that parameters and buffers of a real build may take.
        root: Folder of the user's project: writes are located in code below it only.
        example: Example inputs for a dry run where modules are lazy; those of the factory go first.

    Raises:
        ModelLoadError: If the factory returns no module, or lazy modules have no example to be materialised by.
        Exception: Whatever the factory raises when called for real.
    """
    raise NotImplementedError
