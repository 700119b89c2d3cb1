"""Names that share memory: what an operation in place writes through one of them is read through the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from initcheck.graph import Op, Value
from initcheck.sources.torch.calls import Ref
from initcheck.sources.torch.lowering.bound import NotUnderstoodError, bind
from initcheck.sources.torch.lowering.known import Activation
from initcheck.sources.torch.lowering.pieces import put, take
from initcheck.sources.torch.lowering.views import Part, Step, ranges_of
from initcheck.sources.torch.schema import arguments_of, writes

if TYPE_CHECKING:
    from initcheck.sources.torch.calls import Call, Trace
    from initcheck.sources.torch.lowering.bound import Bound
    from initcheck.sources.torch.lowering.builder import Builder

__all__ = ["Memory"]


class Memory:
    """Views and their bases, and what was written on each base since."""

    def __init__(self, trace: Trace) -> None:
        self._values = trace.values
        self._parts: dict[str, Part] = {}
        self._writes: dict[str, list[Part]] = {}
        self._current: dict[str, int] = {}

    def refresh(self, call: Call, build: Builder, results: tuple[Value, ...]) -> None:
        """Before a call: views that it reads whose base was written elsewhere stand for what the base is now."""
        for name in call.reads:
            part = self._parts.get(name)
            if part is None:
                continue
            written = self._writes.get(part.base, [])
            new = written[self._current.get(name, 0) :]
            self._current[name] = len(written)
            base = build.known.get(part.base)
            if isinstance(base, Activation) and any(not part.is_apart_from(other) for other in new):
                self._read(bind(call, (), {}, results), build, name, part, base)

    def follow(self, call: Call, build: Builder, results: tuple[Value, ...]) -> None:
        """After an operation in place, the names of what it wrote stand for the result."""
        func = call.func
        if func is None or not call.outputs:
            return
        first = call.args[0] if call.args else None
        if func.is_view and isinstance(first, Ref):
            self._view(call, first.name)
        for position, argument in enumerate(arguments_of(func)):
            written = call.args[position] if position < len(call.args) else call.kwargs.get(argument.name)
            if not writes(argument) or not isinstance(written, Ref):
                continue
            result = build.known.get(call.outputs[0])
            if result is None or isinstance(result, torch.Tensor):
                continue
            build.known[written.name] = result
            part = self._parts.get(written.name, Part(written.name))
            if isinstance(result, Activation):
                if part.steps:
                    self._write(bind(call, (), {}, results), build, part, result)
                self._writes.setdefault(part.base, []).append(part)
                self._current[written.name] = len(self._writes[part.base])

    def _view(self, call: Call, source: str) -> None:
        arguments = bind(call, call.args, call.kwargs, ()).arguments
        before = self._parts.get(source, Part(source))
        names = [output for output in call.outputs if output]
        shapes = [self._values[name].shape or () for name in names]
        kind = call.op.rpartition("::")[2]
        found = ranges_of(kind, self._values[source].shape or (), shapes, arguments)
        for name, (range_, same_order) in zip(names, found, strict=True):
            self._parts[name] = Part(before.base, (*before.steps, Step(name, source, range_, same_order)))
            self._current[name] = len(self._writes.get(before.base, ()))

    def _read(self, call: Bound, build: Builder, name: str, part: Part, base: Activation) -> None:
        """Part of a base, read anew."""
        value, whole = self._values[name], build.shape(base)
        if part.is_whole and value.shape == whole:
            build.known[name] = base
            return
        target = build.fresh(f"{name}:again")
        if part.range is not None and len(value.shape or ()) in {len(whole), len(whole) - 1}:
            take(call, build, base.name, part.range, target, value)
        else:
            build.emit(call, Op.OPAQUE, (base.name,), (target,), layer="view", result=value, type="a view, written")
        build.known[name] = Activation(target)

    @staticmethod
    def _write(call: Bound, build: Builder, part: Part, result: Activation) -> None:
        """What a view was written through is changed in part."""
        before = build.known[part.base]
        dtype = call.result.dtype
        if part.is_whole and build.shape(before) == build.shape(result):
            build.known[part.base] = result
            return
        try:
            if part.range is None:
                raise NotUnderstoodError
            build.known[part.base] = put(call, build, before, part.range, result, name=part.base)
        except NotUnderstoodError:
            # Written in some other way, it is known no longer, but for its shape.
            name = build.fresh(f"{part.base}:written")
            inputs = [before.name] if isinstance(before, Activation) else []
            value, kind = Value(build.shape(before), dtype), call.call.op
            build.emit(call, Op.OPAQUE, (*inputs, result.name), (name,), layer=kind, result=value, type=kind)
            build.known[part.base] = Activation(name)
