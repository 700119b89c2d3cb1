"""The zoo: models of every family that the accuracy of the analysis is measured on."""

from __future__ import annotations

from zoo import attention, convolutional, hub, other, plain, residual
from zoo.entry import Entry

__all__ = ["ZOO", "Entry"]

ZOO: dict[str, Entry] = {
    entry.name: entry for module in (plain, convolutional, residual, attention, hub, other) for entry in module.ENTRIES
}
