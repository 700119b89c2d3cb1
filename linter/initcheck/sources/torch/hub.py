"""Inputs of models of the transformers library, from what their classes and configurations declare."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import torch

from initcheck.sources.torch.guess import BATCH, IMAGE_SIZES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

__all__ = ["hub_inputs"]

LENGTH = 16
"""Tokens of a sequence."""

SAMPLES = (1600, 16000)
"""Samples of a waveform: what is left after the strided convolutions must not be empty."""

_KINDS = ("input_ids", "inputs", "pixel_values", "input_values", "input_features", "past_values")

Inputs = dict[str, Any]


def hub_inputs(module: nn.Module) -> Iterator[tuple[Inputs, str]]:
    """Keyword arguments to try, with their origin; none for a module that has no ``config`` and ``main_input_name``."""
    config, main = getattr(module, "config", None), getattr(module, "main_input_name", "")
    if config is None or not isinstance(main, str) or not main:
        return
    signature = inspect.signature(module.forward).parameters
    main = _argument(main, signature)
    extra: Inputs = {"use_cache": False} if "use_cache" in signature else {}
    if main == "input_ids":
        vision = getattr(config, "vision_config", None) is not None and "pixel_values" in signature
        for kwargs, origin in () if vision else _declared(module):
            yield {**kwargs, **extra}, origin
    decoder: Inputs = {}
    if getattr(config, "is_encoder_decoder", False) and "decoder_input_ids" in signature:
        decoder["decoder_input_ids"] = _ids(config)
    for kwargs in _of_main(main, config, signature):
        yield {**kwargs, **decoder, **extra}, f"main_input_name {main} and config"


def _argument(main: str, signature: Any) -> str:
    """The name in ``forward`` of what the class declares: some take ``inputs`` of several kinds, and require them."""
    if main not in signature:
        return next((name for name in _KINDS if name in signature), main)
    return main


def _declared(module: nn.Module) -> Iterator[tuple[Inputs, str]]:
    dummies = getattr(module, "dummy_inputs", None)
    if isinstance(dummies, dict) and dummies:
        yield dict(dummies), "dummy_inputs"


def _of_main(main: str, config: Any, signature: Any) -> Iterator[Inputs]:
    if main in {"input_ids", "inputs"}:
        yield from (
            {name.replace("input_ids", main): value for name, value in text.items()}
            for text in _of_text(config, signature)
        )
    elif main == "pixel_values":
        yield from _images(config, signature)
        text = {"input_ids": _ids(getattr(config, "text_config", config))}
        yield from ({**text, **image} for image in _images(config, signature) if "input_ids" in signature)
    elif main == "pixel_values_videos":
        yield from ({main: image["pixel_values"]} for image in _images(config, signature))
    elif main == "input_values":
        yield from ({main: _floats((BATCH, size))} for size in SAMPLES)
        frames, bins = _first(config, ("max_length",), 64), _first(config, ("num_mel_bins",), 80)
        yield {main: _floats((BATCH, frames, bins))}
    elif main == "input_features":
        yield from _of_spectrum(main, config)
    elif main == "past_values":
        length = _first(config, ("context_length", "prediction_length"), 64)
        yield {main: _floats((BATCH, length))}
        yield {main: _floats((BATCH, length, _first(config, ("num_input_channels",), 1)))}


def _of_text(config: Any, signature: Any) -> Iterator[Inputs]:
    """Tokens, with an image where the model has a part that sees."""
    text = {"input_ids": _ids(getattr(config, "text_config", config))}
    vision, audio = getattr(config, "vision_config", None), getattr(config, "audio_config", None)
    if vision is not None and "pixel_values" in signature:
        yield from ({**text, **image} for image in _images(vision, signature))
    if audio is not None and "input_features" in signature:
        side, bins = _first(audio, ("spec_size",), 256), _first(audio, ("num_mel_bins",), 64)
        yield {**text, "input_features": _floats((BATCH, 1, side * max(side // bins, 1), bins))}
    yield text
    if vision is None and "pixel_values" in signature:
        yield from ({**text, **image} for image in _images(config, signature))


def _of_spectrum(main: str, config: Any) -> Iterator[Inputs]:
    """Mel bins over time, in either order."""
    bins = _first(config, ("num_mel_bins", "feature_projection_input_dim", "input_feat_per_channel"), 80)
    frames = 2 * _first(config, ("max_source_positions",), 64)
    yield {main: _floats((BATCH, bins, frames))}
    yield {main: _floats((BATCH, frames, bins))}


def _images(config: Any, signature: Any) -> Iterator[Inputs]:
    channels = _first(config, ("num_channels", "in_channels", "in_chans"), 3)
    declared = getattr(config, "image_size", None)
    sizes = [(declared, declared)] if isinstance(declared, int) else [tuple(declared)] if declared else []
    frames = getattr(config, "num_frames", None)
    for height, width in dict.fromkeys(sizes + [(size, size) for size in IMAGE_SIZES]):
        shape = (BATCH, frames, channels, height, width) if frames else (BATCH, channels, height, width)
        inputs: Inputs = {"pixel_values": _floats(shape)}
        if "bool_masked_pos" in signature and signature["bool_masked_pos"].default is inspect.Parameter.empty:
            tokens = (frames or 1) // max(getattr(config, "tubelet_size", 1), 1) * (height // config.patch_size) ** 2
            inputs["bool_masked_pos"] = (torch.arange(tokens) % 2 == 0).expand(BATCH, -1)
        yield inputs


def _first(config: Any, names: tuple[str, ...], default: int) -> int:
    return next((value for name in names if isinstance(value := getattr(config, name, None), int)), default)


def _ids(config: Any) -> torch.Tensor:
    size = getattr(config, "vocab_size", None)
    return torch.randint(
        0,
        size if isinstance(size, int) and size > 0 else 8,
        (BATCH, LENGTH),
        generator=torch.Generator().manual_seed(0),
    )


def _floats(shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
