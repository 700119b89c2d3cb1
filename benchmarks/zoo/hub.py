"""Small configurations of the model families of transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from zoo.entry import Entry, ids

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["ENTRIES"]

BATCH, LENGTH, VOCABULARY = 8, 16, 128
WORDS = 3
"""First id that is no padding, start or end: the embedding of padding is zero, and no input consists of it."""

TEXT: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
IMAGE: dict[str, Any] = {
    "hidden_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "image_size": 32,
    "patch_size": 8,
}
SEQUENCE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "d_model": 48,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 96,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
GPT2: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "n_embd": 48,
    "n_layer": 3,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 0,
    "eos_token_id": 0,
}


def hub(family: str, model: str, **options: Any) -> Callable[[], nn.Module]:
    """A model of transformers, imported when it is built; no cache of keys and values is kept."""

    def build() -> nn.Module:
        import transformers

        config = getattr(transformers, f"{family}Config")(**options)
        config.use_cache = False
        module: nn.Module = getattr(transformers, f"{family}{model}")(config)
        return module

    return build


def text(name: str, family: str, model: str, *, base: dict[str, Any] = TEXT, **options: Any) -> Entry:
    return Entry(
        f"hub/{name}",
        hub(family, model, **{**base, **options}),
        ids(BATCH, LENGTH, VOCABULARY, "input_ids", first=WORDS),
        BATCH,
    )


def pair(name: str, family: str, model: str, **options: Any) -> Entry:
    """An encoder and a decoder, each with ids of its own."""
    inputs = ids(BATCH, LENGTH, VOCABULARY, "input_ids", "decoder_input_ids", first=WORDS)
    return Entry(f"hub/{name}", hub(family, model, **options), inputs, BATCH)


def picture(name: str, family: str, model: str, size: int = 32, batch: int = BATCH, **options: Any) -> Entry:
    return Entry(
        f"hub/{name}",
        hub(family, model, **options),
        lambda: {"pixel_values": torch.randn(batch, 3, size, size)},
        batch,
    )


def speech() -> dict[str, Any]:
    return {
        "input_features": torch.randn(BATCH, 16, 40),
        "decoder_input_ids": torch.randint(WORDS, VOCABULARY, (BATCH, LENGTH)),
    }


ENTRIES = [
    text("gpt2", "GPT2", "LMHeadModel", base=GPT2),
    text("gpt2/eager/w64/d4", "GPT2", "LMHeadModel", base=GPT2, n_embd=64, n_layer=4, attn_implementation="eager"),
    text("gpt2/medium", "GPT2", "LMHeadModel", base=GPT2, n_embd=128, n_layer=8, n_head=8),
    text("bert", "Bert", "ForMaskedLM"),
    text("bert/eager/classes", "Bert", "ForSequenceClassification", attn_implementation="eager"),
    text("roberta", "Roberta", "ForMaskedLM", max_position_embeddings=66),
    text("electra", "Electra", "Model"),
    text("albert", "Albert", "Model", embedding_size=16),
    text("deberta", "DebertaV2", "Model", relative_attention=True, pos_att_type=["p2c", "c2p"]),
    text("llama", "Llama", "ForCausalLM"),
    text("llama/medium", "Llama", "ForCausalLM", hidden_size=96, num_hidden_layers=8, intermediate_size=256),
    text("mistral", "Mistral", "ForCausalLM", num_key_value_heads=2, sliding_window=6),
    text("qwen2", "Qwen2", "ForCausalLM", num_key_value_heads=2),
    text("gemma2", "Gemma2", "ForCausalLM", head_dim=12, num_key_value_heads=2),
    text(
        "mixtral",
        "Mixtral",
        "ForCausalLM",
        num_key_value_heads=2,
        num_local_experts=4,
        experts_implementation="batched_mm",
    ),
    text("gpt_neox", "GPTNeoX", "ForCausalLM"),
    text("phi", "Phi", "ForCausalLM"),
    text("falcon", "Falcon", "ForCausalLM"),
    text("olmo2", "Olmo2", "ForCausalLM"),
    text(
        "opt",
        "OPT",
        "ForCausalLM",
        base={"vocab_size": VOCABULARY, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4},
        ffn_dim=96,
        max_position_embeddings=64,
        word_embed_proj_dim=48,
    ),
    text(
        "bloom", "Bloom", "ForCausalLM", base={"vocab_size": VOCABULARY, "hidden_size": 48, "n_layer": 3, "n_head": 4}
    ),
    pair(
        "t5",
        "T5",
        "ForConditionalGeneration",
        vocab_size=VOCABULARY,
        d_model=48,
        d_kv=12,
        d_ff=96,
        num_layers=2,
        num_heads=4,
    ),
    pair("bart", "Bart", "Model", max_position_embeddings=64, **SEQUENCE),
    Entry(
        "hub/whisper",
        hub(
            "Whisper",
            "ForConditionalGeneration",
            num_mel_bins=16,
            max_source_positions=20,
            max_target_positions=32,
            decoder_start_token_id=1,
            **SEQUENCE,
        ),
        speech,
        BATCH,
    ),
    picture("vit", "ViT", "ForImageClassification", **IMAGE),
    picture("vit/w64/d6", "ViT", "Model", **{**IMAGE, "hidden_size": 64, "num_hidden_layers": 6}),
    picture("deit", "DeiT", "Model", **IMAGE),
    picture("dinov2", "Dinov2", "Model", **IMAGE),
    picture("beit", "Beit", "Model", **IMAGE),
    picture(
        "swin",
        "Swin",
        "Model",
        image_size=32,
        patch_size=4,
        embed_dim=16,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=4,
    ),
    picture("convnext", "ConvNext", "ForImageClassification", hidden_sizes=[16, 32], depths=[2, 2], num_stages=2),
    picture("convnextv2", "ConvNextV2", "Model", hidden_sizes=[16, 32], depths=[2, 2], num_stages=2),
    picture("mobilenet_v2", "MobileNetV2", "Model", batch=32, depth_multiplier=0.35, image_size=32),
    picture(
        "resnet",
        "ResNet",
        "ForImageClassification",
        batch=32,
        embedding_size=16,
        hidden_sizes=[16, 32],
        depths=[2, 2],
        layer_type="basic",
    ),
    picture("poolformer", "PoolFormer", "Model", hidden_sizes=[16, 16, 32, 32], depths=[1, 1, 1, 1]),
]
