"""Inputs guessed from the signature of ``forward`` and the first layer that has parameters."""

from __future__ import annotations

import inspect
import itertools
import re
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["BATCH", "IMAGE_SIZES", "guesses", "image_size"]

BATCH = 2
"""Samples of a guessed batch: one would make batch statistics vanish and hide which axis is the batch."""

LENGTH = 16
"""Positions of a guessed sequence."""

IMAGE_SIZES = (64, 28, 224, 96, 128, 32, 256)
"""Side lengths to try after the one that the model declares: a classifier behind a flattened image needs its own."""

MOST = 24
"""Combinations to try."""

_TIME = re.compile(r"t|ts|time|times|timesteps?|time_steps?|sigma|sigmas|noise_levels?")
_LABEL = re.compile(r"y|labels?|class_(?:labels?|ids?)|c|cls|classes")
_MASK = re.compile(r"(?:.*_)?mask")

Sizes = tuple[int, ...]


def guesses(module: nn.Module) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Positional arguments to try, with what they were guessed from."""
    required = _required(module)
    if not required:
        yield (), "forward takes no input"
        return
    for owner, first in _leaves(module)[:3]:
        candidates = list(_of_leaf(module, first))
        if len(required) > 1 and isinstance(first, nn.Bilinear):
            yield (_floats((BATCH, first.in1_features)), _floats((BATCH, first.in2_features))), f"guessed from {owner}"
        tried = itertools.islice(_combinations(required, candidates), MOST)
        for arguments in tried:
            yield _of_precision(arguments, first), f"guessed from {owner or 'the parameters'}"


def _of_precision(arguments: Sequence[torch.Tensor], leaf: nn.Module) -> tuple[torch.Tensor, ...]:
    """Real-valued arguments in the precision of a layer's parameters."""
    dtype = next((parameter.dtype for parameter in leaf.parameters(recurse=False)), torch.float32)
    return tuple(tensor.to(dtype) if tensor.is_floating_point() else tensor for tensor in arguments)


def _required(module: nn.Module) -> list[str]:
    """Names of the positional arguments that ``forward`` cannot do without."""
    target = module
    if isinstance(module, nn.Sequential) and len(module):
        target = module[0]
        while isinstance(target, nn.Sequential) and len(target):
            target = target[0]
    names: list[str] = []
    for name, parameter in inspect.signature(target.forward).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL and not names:
            names.append("input")
        elif parameter.default is parameter.empty and parameter.kind in {
            parameter.POSITIONAL_ONLY,
            parameter.POSITIONAL_OR_KEYWORD,
        }:
            names.append(name)
    return names[:1] if isinstance(module, nn.Sequential) else names


def _leaves(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Modules that own parameters, in order, those whose input the vocabulary of layers tells first."""
    owners = [
        (name, child) for name, child in module.named_modules() if any(True for _ in child.parameters(recurse=False))
    ]
    telling = [pair for pair in owners if isinstance(pair[1], _TELLING)]
    others = [pair for pair in owners if not isinstance(pair[1], _TELLING)]
    if not owners:
        return [("", module)]
    if others and telling and owners[0] == others[0]:
        return [telling[0], *others[:1], *telling[1:2]]
    return telling + others


def _combinations(names: Sequence[str], first: list[torch.Tensor]) -> Iterator[tuple[torch.Tensor, ...]]:
    if len(names) == 1:
        yield from ((tensor,) for tensor in first)
        return
    for tensor in first:
        for rest in itertools.product(*(_further(name, tensor) for name in names[1:])):
            yield (tensor, *rest)


def _further(name: str, first: torch.Tensor) -> list[torch.Tensor]:
    """What an argument after the first may be, by its name."""
    steps = torch.linspace(0.1, 0.9, BATCH)
    labels = torch.arange(BATCH)
    if _TIME.fullmatch(name):
        return [steps, labels, steps[:, None]]
    if _LABEL.fullmatch(name):
        return [labels, first, steps]
    if _MASK.fullmatch(name):
        shape = first.shape[:2] if first.dim() > 1 else first.shape
        return [torch.ones(shape, dtype=torch.bool), torch.ones(shape)]
    return [first, labels, steps]


def _of_leaf(module: nn.Module, leaf: nn.Module) -> Iterator[torch.Tensor]:
    """What the first layer takes, most likely first."""
    for kinds, inputs in _LEAVES:
        if isinstance(leaf, kinds):
            yield from inputs(module, leaf)
            return
    yield from _of_parameters(module, leaf)


def _of_table(_: nn.Module, leaf: Any) -> Iterator[torch.Tensor]:
    yield _ids((BATCH, LENGTH), leaf.num_embeddings)
    yield _ids((BATCH,), leaf.num_embeddings)


def _of_linear(module: nn.Module, leaf: Any) -> Iterator[torch.Tensor]:
    """Vectors, tokens, or an image of which patches are made."""
    yield from map(_floats, ((BATCH, leaf.in_features), (BATCH, LENGTH, leaf.in_features)))
    yield from _images(module, (BATCH, 3), 2)
    yield from _images(module, (BATCH, 1), 2)


def _of_conv1d(_: nn.Module, leaf: Any) -> Iterator[torch.Tensor]:
    yield from (_floats((BATCH, leaf.in_channels, size)) for size in (*IMAGE_SIZES, 1024, 16000))
    yield _floats((BATCH, 16000))


def _of_conv2d(module: nn.Module, leaf: Any) -> Iterator[torch.Tensor]:
    yield from _images(module, (BATCH, leaf.in_channels), 2)


def _of_conv3d(_: nn.Module, leaf: Any) -> Iterator[torch.Tensor]:
    yield from (_floats((BATCH, leaf.in_channels, *(size,) * 3)) for size in (16, 32, 64))


def _of_layer_norm(_: nn.Module, leaf: Any) -> Iterator[torch.Tensor]:
    yield _floats((BATCH, LENGTH, *leaf.normalized_shape))
    yield _floats((BATCH, *leaf.normalized_shape))


def _of_channel_norm(module: nn.Module, leaf: Any) -> Iterator[torch.Tensor]:
    channels = leaf.num_channels if isinstance(leaf, nn.GroupNorm) else leaf.num_features
    yield _floats((BATCH, channels))
    yield _floats((BATCH, channels, LENGTH))
    yield from _images(module, (BATCH, channels), 2)


def _sequence(width: str) -> Callable[[nn.Module, Any], Iterator[torch.Tensor]]:
    """Tokens as wide as an attribute of the layer says."""
    return lambda _, leaf: iter((_floats((BATCH, LENGTH, getattr(leaf, width))),))


def _vectors(width: str) -> Callable[[nn.Module, Any], Iterator[torch.Tensor]]:
    return lambda _, leaf: iter((_floats((BATCH, getattr(leaf, width))),))


_LEAVES: tuple[tuple[tuple[type[nn.Module], ...], Callable[[nn.Module, Any], Iterator[torch.Tensor]]], ...] = (
    ((nn.Embedding, nn.EmbeddingBag), _of_table),
    ((nn.Linear,), _of_linear),
    ((nn.Conv1d, nn.ConvTranspose1d), _of_conv1d),
    ((nn.Conv2d, nn.ConvTranspose2d), _of_conv2d),
    ((nn.Conv3d, nn.ConvTranspose3d), _of_conv3d),
    ((nn.RNNBase,), _sequence("input_size")),
    ((nn.RNNCellBase,), _vectors("input_size")),
    ((nn.MultiheadAttention,), _sequence("embed_dim")),
    ((nn.LayerNorm,), _of_layer_norm),
    ((nn.GroupNorm, nn.modules.batchnorm._NormBase), _of_channel_norm),  # noqa: SLF001 - the base has no public name
    ((nn.Bilinear,), _vectors("in1_features")),
)
"""Layer -> what it may be given."""


_TELLING = (
    nn.Embedding,
    nn.EmbeddingBag,
    nn.Linear,
    nn.modules.conv._ConvNd,  # noqa: SLF001 - the common base has no public name
    nn.RNNBase,
    nn.RNNCellBase,
    nn.MultiheadAttention,
    nn.Bilinear,
)


def _of_parameters(module: nn.Module, leaf: nn.Module) -> Iterator[torch.Tensor]:
    """Widths of a layer that nobody knows: the axes of its first parameter."""
    shape = next((tuple(p.shape) for p in leaf.parameters(recurse=False) if p.dim()), (64,))
    for width in dict.fromkeys((shape[-1], shape[0])):
        yield _floats((BATCH, width))
        yield _floats((BATCH, LENGTH, width))
    if len(shape) == 4:
        yield from _images(module, (BATCH, shape[1]), 2)


def _images(module: nn.Module, lead: Sizes, axes: int) -> Iterator[torch.Tensor]:
    declared = image_size(module)
    sizes = dict.fromkeys(([declared] if declared else []) + [(size,) * axes for size in IMAGE_SIZES])
    yield from (_floats((*lead, *size)) for size in sizes)


def image_size(module: nn.Module) -> Sizes | None:
    """Side lengths that the model or a part of it declares."""
    for child in module.modules():
        for name in ("image_size", "img_size", "input_size", "resolution"):
            value = getattr(child, name, None)
            if (
                isinstance(value, int)
                and not isinstance(value, bool)
                and value > 1
                and not isinstance(child, nn.RNNBase)
            ):
                return (value, value)
            if isinstance(value, (tuple, list)) and len(value) >= 2 and all(isinstance(size, int) for size in value):
                return tuple(value[-2:])
    return None


def _floats(shape: Sizes) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _ids(shape: Sizes, count: int) -> torch.Tensor:
    return torch.randint(0, max(count, 1), shape, generator=torch.Generator().manual_seed(0))
