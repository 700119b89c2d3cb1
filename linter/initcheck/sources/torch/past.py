"""How the parameters of a built module came by their values, as rules see it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from initcheck.construction import BuiltParameter, Construction, DeferredDifference, DeferredRoute
from initcheck.sources.torch.deferred import find_route, record_deferred

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Set
    from pathlib import Path

    import torch

    from initcheck.distribution import Distribution
    from initcheck.sources.torch.built import Built, RecordedTensor
    from initcheck.sources.torch.deferred import Route
    from initcheck.sources.torch.locate import Locator

__all__ = ["construction_of"]

TOLERANCE = 1e-6
"""Relative distance up to which moments of two laws are the same."""


def construction_of(
    module: torch.nn.Module, built: Built, read: Set[str], locator: Locator, root: Path
) -> tuple[Construction, str]:
    """The past of a model, and a sentence if part of it could not be followed.

    Args:
        module: The model.
        built: What is known of its tensors.
        read: Names of the parameters and buffers that the forward pass reads, of tied ones the first.
        locator: Finds the line of a layer.
        root: Folder of the user's project.
    """
    shared = {record.tied_to for record in built.parameters.values() if record.tied_to}
    parameters = {
        name: _built(record, locator, read=name in read, tied=name in shared)
        for name, record in built.parameters.items()
        if not record.is_buffer and not record.tied_to and _is_float(record)
    }
    construction = Construction(parameters)
    awaited = _awaited(built)
    route = find_route(module, root) if built.on_meta else None
    if route is None or (route.of_layers and not awaited):
        return construction, ""
    try:
        deferred = record_deferred(module, route, root)
    except Exception as error:  # noqa: BLE001 - foreign code, called on our own account
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        return construction, f"{route.shown} was not compared with the factory, since it raises {reason}"
    return replace(construction, deferred=_compared(route, built, deferred, read, locator, awaited)), ""


def _built(record: RecordedTensor, locator: Locator, *, read: bool, tied: bool) -> BuiltParameter:
    allocation = record.allocation
    location = allocation.location if allocation is not None else None
    return BuiltParameter(
        name=record.name,
        shape=record.shape,
        distribution=record.distribution,
        history=record.history,
        written=record.written or record.awaited,
        read=read,
        tied=tied,
        location=location or locator.layer(record.name),
        allocation=allocation.routine if allocation is not None else "",
    )


def _awaited(built: Built) -> bool:
    """Whether the factory leaves most of the model on the meta device."""
    own = [record for record in built.parameters.values() if not record.is_buffer]
    return sum(record.awaited for record in own) > len(own) / 2


def _compared(
    route: Route,
    built: Built,
    deferred: Mapping[str, RecordedTensor],
    read: Set[str],
    locator: Locator,
    awaited: bool,
) -> DeferredRoute:
    weights = [name for name, record in built.parameters.items() if _is_weight(record) and not record.tied_to]
    written = [name for name in weights if deferred[name].written]
    total = _elements(built, weights)
    return DeferredRoute(
        method=route.shown,
        evidence="the factory leaves the model on the meta device" if awaited else route.evidence,
        called=any(_calls(record, route.method) for record in built.parameters.values()),
        applied=route.of_layers or route.is_callback,
        coverage=_elements(built, written) / total if total else 0.0,
        differences=tuple(_differences(built, deferred, read, locator)),
    )


def _differences(
    built: Built, deferred: Mapping[str, RecordedTensor], read: Set[str], locator: Locator
) -> Iterator[DeferredDifference]:
    names: dict[str, list[str]] = {}
    for name, record in built.parameters.items():
        names.setdefault(record.tied_to or name, []).append(name)
    for name, record in built.parameters.items():
        if name not in read or record.tied_to or not (record.written or record.awaited):
            continue
        # ``to_empty`` leaves plain attributes as they are.
        if record.is_attribute:
            continue
        found = deferred[name]
        # The trace does not tell by which of its names a tied parameter is read.
        forgotten = not any(deferred[alias].written for alias in names[name])
        changed = _is_weight(record) and _differ(record.distribution, found.distribution)
        if forgotten or changed:
            yield DeferredDifference(
                name=name,
                shape=record.shape,
                factory=record.distribution,
                deferred=None if forgotten else found.distribution,
                location=locator.layer(name),
                is_buffer=record.is_buffer,
            )


def _differ(one: Distribution | None, other: Distribution | None) -> bool:
    """Whether two laws are both certain and not the same."""
    if one is None or other is None or not (one.exact and other.exact):
        return False
    scale = max(abs(one.mean), one.std, abs(other.mean), other.std)
    near = (
        math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE * scale)
        for a, b in ((one.mean, other.mean), (one.std, other.std))
    )
    return one.family is not other.family or not all(near)


def _calls(record: RecordedTensor, method: str) -> bool:
    """Whether the factory ran a method of this name, or what transformers calls around it."""
    names = {method, "post_init"}
    return any(
        write.routine in names or any(call.function in names for call in write.calls) for write in record.history
    )


def _is_weight(record: RecordedTensor) -> bool:
    return not record.is_buffer and len(record.shape) >= 2 and _is_float(record)


def _is_float(record: RecordedTensor) -> bool:
    return record.dtype.startswith(("float", "bfloat"))


def _elements(built: Built, names: list[str]) -> int:
    return sum(math.prod(built.parameters[name].shape) for name in names)
