"""Transformers at the initialisation of their own code: nothing on streams, attention or the first loss but notes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import transformers
from rule_networks import findings

from initcheck import Severity
from initcheck.sources.torch.load import load

if TYPE_CHECKING:
    from torch import nn

RULES = ("INI202", "INI203", "INI204", "INI504", "INI505", "INI506")
SIZE = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 128}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", {}),
    "gpt2_tiny": ("GPT2Config", "GPT2LMHeadModel", {"vocab_size": 256, "n_embd": 64, "n_layer": 4, "n_head": 4}),
    "bert": ("BertConfig", "BertForMaskedLM", {"vocab_size": 256, **SIZE}),
    "vit": ("ViTConfig", "ViTForImageClassification", {"image_size": 32, "patch_size": 8, **SIZE}),
    "llama": ("LlamaConfig", "LlamaForCausalLM", {"vocab_size": 256, **SIZE}),
    "t5": (
        "T5Config",
        "T5ForConditionalGeneration",
        {"vocab_size": 256, "d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 3, "num_heads": 4},
    ),
    "swin": (
        "SwinConfig",
        "SwinForImageClassification",
        {"image_size": 64, "embed_dim": 32, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_is_quiet(name: str) -> None:
    config, model, options = MODELS[name]

    def make() -> nn.Module:
        return getattr(transformers, model)(getattr(transformers, config)(**options))

    graph = load(make, root=Path(__file__).parent)
    loud = [finding for code in RULES for finding in findings(code, graph) if finding.severity is not Severity.NOTE]
    assert [finding.message for finding in loud] == []
