"""What a recorder knows of the tensors of a module."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from initcheck.construction import Effect
from initcheck.distribution import Distribution, Family
from initcheck.estimate import estimate
from initcheck.naming import name_scheme
from initcheck.schemes import init_fans
from initcheck.sources.torch.built import RecordedTensor
from initcheck.sources.torch.record_content import Origin
from initcheck.sources.torch.record_law import Law, constant, distribution
from initcheck.sources.torch.record_regions import GARBAGE, Absence
from initcheck.sources.torch.record_values import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from initcheck.construction import Write
    from initcheck.graph import RowFacts
    from initcheck.sources.torch.record import Recorder
    from initcheck.sources.torch.record_content import Content

__all__ = ["estimated", "recorded_tensors"]

VALUES_LIMIT = 65536
"""Elements up to which fixed values are kept."""

COMPLEX_LIMIT = 1 << 22
"""The same for complex numbers, which have no law: angles of a rotary embedding are known by their values or not."""

_WEIGHTS = ("{}", "parametrizations.{}.original", "parametrizations.{}.original1", "{}_v", "{}_orig")
"""Names under which the weight beside a bias is kept, parametrised ones included."""

SIGNIFICANCE = 5.0
"""Standard errors of 4096 values below which a mean is none."""


def recorded_tensors(module: torch.nn.Module, recorder: Recorder) -> dict[str, RecordedTensor]:
    """Every parameter and buffer of a module by name, tied ones under each of their names."""
    first: dict[int, str] = {}
    results: dict[str, RecordedTensor] = {}
    tensors = dict(_named(module))
    for name, (tensor, is_buffer) in tensors.items():
        known = first.setdefault(id(tensor), name)
        if known != name and known in results:
            results[name] = replace(results[known], name=name, tied_to=known)
        else:
            results[name] = _describe(name, tensor, is_buffer, _fans(name, tensor, tensors), recorder)
    return results


def _named(module: torch.nn.Module) -> Iterator[tuple[str, tuple[torch.Tensor, bool]]]:
    for name, parameter in module.named_parameters(remove_duplicate=False):
        yield name, (parameter, False)
    for name, buffer in module.named_buffers(remove_duplicate=False):
        yield name, (buffer, True)


def _fans(name: str, tensor: torch.Tensor, tensors: dict[str, tuple[torch.Tensor, bool]]) -> tuple[int, int]:
    """Fans as ``nn.init`` counts them, for a bias those of the weight beside it."""
    path, _, last = name.rpartition(".")
    if tensor.dim() < 2 and "bias" in last:
        for form in _WEIGHTS:
            sibling = tensors.get(f"{path}.{form.format(last.replace('bias', 'weight'))}".lstrip("."))
            if sibling is not None:
                return init_fans(sibling[0].shape)
        return 0, 0
    return init_fans(tensor.shape)


def _describe(
    name: str, tensor: torch.Tensor, is_buffer: bool, fans: tuple[int, int], recorder: Recorder
) -> RecordedTensor:
    shape, dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
    plain = tensor.layout is torch.strided
    content = recorder.contents.find(tensor) if plain else None
    if content is None:
        law, rows = (None, None) if tensor.is_meta or not plain else _estimate(tensor, fans)
        return RecordedTensor(name, shape, dtype, law, is_buffer=is_buffer, rows=rows)
    marks = [mark for mark, _ in content.regions.read(content.runs(tensor))]
    whole = content.mark(tensor)
    absent = any(isinstance(mark, Absence) for mark in marks)
    values = None if absent or content.origin is Origin.DRAWN else _fixed_values(tensor, whole, recorder)
    known, rows = (None, None) if absent else _distribution(tensor, content, whole, fans, recorder)
    written = not all(mark is GARBAGE for mark in marks) or not tensor.numel()
    return RecordedTensor(
        name,
        shape,
        dtype,
        known,
        _history(content, tensor, fans),
        written,
        content.allocation,
        content.awaited,
        values=values,
        is_buffer=is_buffer,
        rows=rows,
        content=_content_key(tensor, content),
    )


def _history(content: Content, tensor: torch.Tensor, fans: tuple[int, int]) -> tuple[Write, ...]:
    """Writes in order, with the law after each where a later one takes its place."""
    writes = tuple(entry.write for entry in content.history)
    last = max((at for at, write in enumerate(writes) if write.effect is Effect.RENEW), default=0)
    if not any(write.location and not write.default for write in writes[:last]) or not content.is_whole(tensor):
        return writes
    return tuple(
        replace(write, distribution=distribution(entry.mark, tuple(tensor.shape), fans))
        if at < last and isinstance(entry.mark, Law)
        else write
        for at, (write, entry) in enumerate(zip(writes, content.history, strict=True))
    )


def _content_key(tensor: torch.Tensor, content: Content) -> str:
    """Which draw a tensor is a part of, and which part; empty for what is no draw."""
    if content.origin is not Origin.DRAWN or not content.version:
        return ""
    place = "" if content.is_whole(tensor) else f"@{tensor.storage_offset()}{list(tensor.stride())}"
    return f"draw {content.version}{place} {list(tensor.shape)} {tensor.dtype}"


def _distribution(
    tensor: torch.Tensor, content: Content, mark: object, fans: tuple[int, int], recorder: Recorder
) -> tuple[Distribution | None, RowFacts | None]:
    """Exact where the law is known, estimated where values are; None for what is not a float or not known."""
    shape = tuple(tensor.shape)
    if not tensor.is_floating_point() or not tensor.numel():
        return None, None
    if isinstance(mark, Law):
        return distribution(mark, shape, fans), None
    real = recorder.mirror.real(tensor)
    if real is not None:
        law, rows = _estimate(real, fans)
        return replace(law, exact=content.origin is Origin.FIXED), rows
    sample = content.values.sample
    if sample is None or not content.is_whole(tensor) or not sample.is_floating_point():
        return None, None
    return replace(_from_sample(sample, shape, fans), exact=False), None


def _from_sample(sample: torch.Tensor, shape: tuple[int, ...], fans: tuple[int, int]) -> Distribution:
    """Distribution of a large tensor by 4096 of its values."""
    law, _ = estimate((sample.numpy(),), (SAMPLES,))
    if law.family is Family.CONSTANT:
        return distribution(constant(law.mean), shape, fans)
    size = math.prod(shape)
    mean = law.mean if abs(law.mean) > SIGNIFICANCE * law.std / math.sqrt(SAMPLES) else 0.0
    scheme = name_scheme(replace(law, scheme=""), shape, *fans)
    zeros, nonfinite = (round(count / SAMPLES * size) for count in (law.zeros, law.nonfinite))
    return replace(law, size=size, mean=mean, zeros=zeros, nonfinite=nonfinite, scheme=scheme)


def _fixed_values(tensor: torch.Tensor, mark: object, recorder: Recorder) -> np.ndarray | None:
    """Elements of a small tensor that are no draw."""
    if tensor.layout is not torch.strided or tensor.numel() > (COMPLEX_LIMIT if tensor.is_complex() else VALUES_LIMIT):
        return None
    if isinstance(mark, Law) and mark.value is not None:
        return np.full(tuple(tensor.shape), mark.value, np.float64)
    real = recorder.mirror.real(tensor)
    if real is None:
        return None
    return real.detach().to(torch.complex128 if real.is_complex() else torch.float64).numpy()


def _estimate(tensor: torch.Tensor, fans: tuple[int, int]) -> tuple[Distribution, RowFacts | None]:
    """Distribution of a tensor by its values, and facts of its rows by its first axis."""
    flat = tensor.detach().cpu().contiguous()
    name = str(tensor.dtype).removeprefix("torch.")
    if flat.dtype in {torch.float16, torch.bfloat16}:
        array = flat.view(torch.uint16).numpy()
    else:
        array = flat.numpy() if flat.dtype in {torch.float32, torch.float64} else flat.double().numpy()
    return estimate((array,), tuple(tensor.shape), name, fans=fans)


def estimated(tensor: torch.Tensor, name: str, tensors: dict[str, torch.Tensor]) -> Distribution | None:
    """Distribution of a real tensor by its values, None for what is not a float.

    Args:
        tensor: The tensor.
        name: Its name.
        tensors: All tensors of its module by name, for the weight beside a bias.
    """
    if not tensor.is_floating_point() or not tensor.numel() or tensor.layout is not torch.strided:
        return None
    return _estimate(tensor, _fans(name, tensor, {key: (value, False) for key, value in tensors.items()}))[0]
