"""Small models of many kinds: transformers in tiny configurations, and what people write in plain torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrizations

Factory = Callable[[], nn.Module]

TEXT = {
    "vocab_size": 128,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
IMAGE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
SEQUENCE = {
    "vocab_size": 128,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def hub(config: str, model: str, **options: Any) -> Factory:
    """A model of transformers, imported when it is built."""

    def build() -> nn.Module:
        import transformers

        return getattr(transformers, model)(getattr(transformers, config)(**options))

    return build


class Residual(nn.Module):
    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.body(x)


def mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 64), nn.PReLU(), nn.Linear(64, 3)
    )


def cnn() -> nn.Module:
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, groups=2), nn.ReLU(), head
    )

    def initialise(module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.weight, 1.0)

    return model.apply(initialise)


class NanoGpt(nn.Module):
    """Tied, with residual projections scaled afterwards."""

    def __init__(self, width: int = 96, layers: int = 3) -> None:
        super().__init__()
        self.tokens = nn.Embedding(256, width)
        self.places = nn.Parameter(torch.zeros(1, 64, width))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 4, 2 * width, norm_first=True) for _ in range(layers)
        )
        self.head = nn.Linear(width, 256, bias=False)
        self.head.weight = self.tokens.weight
        self.apply(self._init)
        nn.init.trunc_normal_(self.places, std=0.02)
        for name, parameter in self.named_parameters():
            if name.endswith("linear2.weight"):
                parameter.data.mul_(1 / math.sqrt(2 * layers))

    def _init(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            module.weight.data.normal_(mean=0.0, std=0.02)
            if module.bias is not None:
                module.bias.data.zero_()
        elif isinstance(module, nn.Embedding):
            torch.nn.init.normal_(module.weight, mean=0.0, std=0.02)


class DeepNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(4))
        with torch.no_grad():
            for layer in self.layers:
                layer.weight /= math.sqrt(2 * len(self.layers))
                layer.bias.copy_(torch.full((64,), 0.01))


class DiT(nn.Module):
    """Sine table, gates from zero, patches drawn as one matrix."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.patch = nn.Conv2d(4, width, 2, 2)
        frequency = torch.exp(-math.log(10000.0) * torch.arange(0, width, 2) / width)
        angles = torch.arange(64)[:, None] * frequency[None]
        table = torch.zeros(64, width)
        table[:, 0::2], table[:, 1::2] = torch.sin(angles), torch.cos(angles)
        self.places = nn.Parameter(table, requires_grad=False)
        self.gates = nn.ModuleList(nn.Linear(width, 6 * width) for _ in range(2))
        self.attention = nn.ModuleList(nn.MultiheadAttention(width, 4) for _ in range(2))
        nn.init.xavier_uniform_(self.patch.weight.view(width, -1))
        for gate in self.gates:
            nn.init.constant_(gate.weight, 0)
            nn.init.constant_(gate.bias, 0)


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in ((3, 16), (16, 32)))
        self.up = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in ((32, 16), (32, 8)))
        self.norms = nn.ModuleList(nn.GroupNorm(4, c) for c in (16, 32, 16, 8))
        self.out = nn.Conv2d(8, 3, 1)
        nn.init.zeros_(self.out.weight)


class StateSpace(nn.Module):
    """Structured initial values that no initialiser draws."""

    def __init__(self, width: int = 96, states: int = 16) -> None:
        super().__init__()
        self.log_a = nn.Parameter(torch.log(torch.arange(1, states + 1, dtype=torch.float32).repeat(width, 1)))
        self.skip = nn.Parameter(torch.ones(width))
        step = torch.exp(torch.rand(width) * (math.log(0.1) - math.log(0.001)) + math.log(0.001)).clamp(min=1e-4)
        self.step_bias = nn.Parameter(step + torch.log(-torch.expm1(-step)))
        self.project = nn.Linear(width, 2 * width, bias=False)


class Literals(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.1, 0.2, 0.3]))
        self.one = nn.Parameter(torch.tensor(0.5))
        self.drawn = nn.Parameter(torch.randn(70, 80) * 0.02)
        self.square = nn.Parameter(torch.eye(40))
        self.filled = nn.Parameter(torch.full((90, 90), 1e-6))
        self.shifted = nn.Parameter((torch.rand(120, 60) * 2 - 1) * 0.05)
        self.joined = nn.Parameter(torch.cat([torch.randn(50, 90) * 0.1, torch.zeros(50, 90)]))
        self.exponential = nn.Parameter(torch.randn(100, 100).mul(0.3).exp())
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]))
        self.register_buffer("mask", torch.tril(torch.ones(80, 80)))


class Siren(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(256, 256) for _ in range(3))
        for index, layer in enumerate(self.layers):
            bound = 1 / 256 if index == 0 else math.sqrt(6 / 256) / 30
            with torch.no_grad():
                layer.weight.uniform_(-bound, bound)


class OldTruncated(nn.Module):
    """A normal truncated by the inverse of its distribution, as image models did before torch had one."""

    def __init__(self) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.zeros(1, 197, 64))
        low, high = math.erf(-2 / math.sqrt(2)), math.erf(2 / math.sqrt(2))
        with torch.no_grad():
            self.places.uniform_(low, high).erfinv_().mul_(0.02 * math.sqrt(2)).add_(0.0).clamp_(min=-0.04, max=0.04)


def numpy_assignment() -> nn.Module:
    model = nn.Sequential(nn.Linear(128, 64), nn.Linear(64, 64))
    model[0].weight.data = torch.from_numpy(np.random.randn(64, 128).astype(np.float32) * 0.1)
    model[1].weight.data.copy_(torch.from_numpy(np.random.uniform(-0.2, 0.2, (64, 64)).astype(np.float32)))
    return model


def recurrent() -> nn.Module:
    model = nn.ModuleDict(
        {
            "lstm": nn.LSTM(24, 48, 2, bidirectional=True),
            "gru": nn.GRU(24, 48),
            "rnn": nn.RNN(24, 48),
            "cell": nn.LSTMCell(24, 48),
        }
    )
    for name, parameter in model["lstm"].named_parameters():
        if "weight_hh" in name:
            nn.init.orthogonal_(parameter)
        elif "bias" in name:
            parameter.data.fill_(0)
            parameter.data[48:96].fill_(1)
    return model


def every_layer() -> nn.Module:
    return nn.ModuleDict(
        {
            "conv1": nn.Conv1d(16, 24, 5),
            "conv3": nn.Conv3d(4, 8, 3),
            "up1": nn.ConvTranspose1d(16, 24, 5, groups=2),
            "up3": nn.ConvTranspose3d(8, 4, 3),
            "embedding": nn.Embedding(300, 32, padding_idx=0),
            "bag": nn.EmbeddingBag(300, 32),
            "bilinear": nn.Bilinear(24, 24, 32),
            "prelu": nn.PReLU(8),
            "layer_norm": nn.LayerNorm(32),
            "rms_norm": nn.RMSNorm(32),
            "group_norm": nn.GroupNorm(4, 32),
            "instance_norm": nn.InstanceNorm1d(32, affine=True),
            "attention": nn.MultiheadAttention(32, 4, kdim=16, vdim=24, add_bias_kv=True),
        }
    )


def normalised() -> nn.Module:
    return nn.Sequential(
        parametrizations.weight_norm(nn.Linear(100, 120)),
        parametrizations.spectral_norm(nn.Linear(120, 100)),
        parametrizations.orthogonal(nn.Linear(100, 100)),
        parametrizations.weight_norm(nn.Conv2d(3, 8, 3)),
    )


class LowRank(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(64, 64)
        self.down = nn.Parameter(self.base.weight.new_zeros((4, 64)))
        self.up = nn.Parameter(self.base.weight.new_zeros((64, 4)))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))


PLAIN: dict[str, Factory] = {
    "mlp": mlp,
    "cnn": cnn,
    "nano_gpt": NanoGpt,
    "deep_norm": DeepNorm,
    "dit": DiT,
    "unet": UNet,
    "state_space": StateSpace,
    "literals": Literals,
    "siren": Siren,
    "old_truncated": OldTruncated,
    "numpy_assignment": numpy_assignment,
    "recurrent": recurrent,
    "every_layer": every_layer,
    "normalised": normalised,
    "low_rank": LowRank,
    "transformer": lambda: nn.Transformer(32, 4, 2, 2, 64, batch_first=True),
    "residual": lambda: nn.Sequential(*(Residual(nn.Linear(64, 64)) for _ in range(4))),
    "half": lambda: nn.Sequential(nn.Linear(64, 64), nn.Conv1d(8, 8, 3)).half(),
    "bfloat16": lambda: nn.TransformerEncoderLayer(32, 4, 64, dtype=torch.bfloat16),
}
"""What people write in plain torch."""

_STAGES = {"hidden_sizes": [8, 16], "depths": [1, 2]}
_FOUR = {"hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1]}
HUB: dict[str, Factory] = {
    "resnet": hub("ResNetConfig", "ResNetModel", embedding_size=8, layer_type="basic", **_STAGES),
    "regnet": hub("RegNetConfig", "RegNetModel", embedding_size=8, groups_width=8, **_STAGES),
    "vit": hub("ViTConfig", "ViTModel", **IMAGE),
    "deit": hub("DeiTConfig", "DeiTModel", **IMAGE),
    "dinov2": hub("Dinov2Config", "Dinov2Model", **{**IMAGE, "image_size": 28, "patch_size": 14}),
    "beit": hub("BeitConfig", "BeitModel", **IMAGE),
    "convnext": hub("ConvNextConfig", "ConvNextModel", hidden_sizes=[8, 16], depths=[1, 1], num_stages=2),
    "convnextv2": hub("ConvNextV2Config", "ConvNextV2Model", hidden_sizes=[8, 16], depths=[1, 1], num_stages=2),
    "swin": hub(
        "SwinConfig",
        "SwinModel",
        image_size=32,
        patch_size=4,
        embed_dim=8,
        depths=[2, 2],
        num_heads=[2, 2],
        window_size=4,
    ),
    "mobilenet_v2": hub("MobileNetV2Config", "MobileNetV2Model", depth_multiplier=0.35, image_size=32),
    "mobilevit": hub(
        "MobileViTConfig",
        "MobileViTModel",
        image_size=64,
        hidden_sizes=[8, 16, 24],
        neck_hidden_sizes=[8, 8, 8, 8, 8, 8, 16],
    ),
    "poolformer": hub("PoolFormerConfig", "PoolFormerModel", **_FOUR),
    "segformer": hub(
        "SegformerConfig", "SegformerModel", num_attention_heads=[1, 2, 2, 2], decoder_hidden_size=16, **_FOUR
    ),
    "efficientnet": hub(
        "EfficientNetConfig",
        "EfficientNetModel",
        width_coefficient=0.25,
        depth_coefficient=0.2,
        image_size=64,
        hidden_dim=320,
    ),
    "gpt2": hub(
        "GPT2Config",
        "GPT2LMHeadModel",
        vocab_size=128,
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=64,
        bos_token_id=0,
        eos_token_id=0,
    ),
    "bert": hub("BertConfig", "BertForMaskedLM", **TEXT),
    "roberta": hub("RobertaConfig", "RobertaForMaskedLM", **TEXT),
    "electra": hub("ElectraConfig", "ElectraModel", **TEXT),
    "albert": hub("AlbertConfig", "AlbertModel", embedding_size=16, **TEXT),
    "distilbert": hub(
        "DistilBertConfig", "DistilBertModel", vocab_size=128, dim=32, n_layers=2, n_heads=4, hidden_dim=64
    ),
    "deberta_v2": hub("DebertaV2Config", "DebertaV2Model", **TEXT),
    "llama": hub("LlamaConfig", "LlamaForCausalLM", **TEXT),
    "mistral": hub("MistralConfig", "MistralForCausalLM", num_key_value_heads=2, **TEXT),
    "qwen2": hub("Qwen2Config", "Qwen2ForCausalLM", num_key_value_heads=2, **TEXT),
    "phi": hub("PhiConfig", "PhiForCausalLM", **TEXT),
    "gpt_neox": hub("GPTNeoXConfig", "GPTNeoXForCausalLM", **TEXT),
    "falcon": hub("FalconConfig", "FalconForCausalLM", **TEXT),
    "olmo2": hub("Olmo2Config", "Olmo2ForCausalLM", **TEXT),
    "gemma": hub("GemmaConfig", "GemmaForCausalLM", head_dim=8, num_key_value_heads=2, **TEXT),
    "gemma2": hub("Gemma2Config", "Gemma2ForCausalLM", head_dim=8, num_key_value_heads=2, **TEXT),
    "mixtral": hub("MixtralConfig", "MixtralForCausalLM", num_key_value_heads=2, num_local_experts=4, **TEXT),
    "qwen2_moe": hub(
        "Qwen2MoeConfig",
        "Qwen2MoeForCausalLM",
        num_key_value_heads=4,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=32,
        shared_expert_intermediate_size=32,
        **TEXT,
    ),
    "t5": hub(
        "T5Config", "T5ForConditionalGeneration", vocab_size=128, d_model=32, d_kv=8, d_ff=64, num_layers=2, num_heads=4
    ),
    "bart": hub("BartConfig", "BartModel", max_position_embeddings=64, **SEQUENCE),
    "opt": hub(
        "OPTConfig",
        "OPTForCausalLM",
        vocab_size=128,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        ffn_dim=64,
        max_position_embeddings=64,
        word_embed_proj_dim=32,
    ),
    "bloom": hub("BloomConfig", "BloomForCausalLM", vocab_size=128, hidden_size=32, n_layer=2, n_head=4),
    "mpt": hub("MptConfig", "MptForCausalLM", vocab_size=128, d_model=32, n_layers=2, n_heads=4, max_seq_len=64),
    "mamba": hub("MambaConfig", "MambaForCausalLM", vocab_size=128, hidden_size=32, num_hidden_layers=2, state_size=4),
    "mamba2": hub(
        "Mamba2Config",
        "Mamba2ForCausalLM",
        vocab_size=128,
        hidden_size=32,
        num_hidden_layers=2,
        state_size=8,
        num_heads=8,
        head_dim=8,
        n_groups=2,
        chunk_size=16,
    ),
    "rwkv": hub(
        "RwkvConfig",
        "RwkvForCausalLM",
        vocab_size=128,
        hidden_size=32,
        num_hidden_layers=2,
        attention_hidden_size=32,
        intermediate_size=64,
    ),
    "wav2vec2": hub(
        "Wav2Vec2Config",
        "Wav2Vec2Model",
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        conv_dim=[16, 16],
        conv_stride=[5, 2],
        conv_kernel=[10, 3],
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        vocab_size=32,
    ),
    "whisper": hub(
        "WhisperConfig",
        "WhisperForConditionalGeneration",
        num_mel_bins=16,
        max_source_positions=50,
        max_target_positions=32,
        decoder_start_token_id=1,
        **SEQUENCE,
    ),
}
"""Transformers in tiny configurations."""

ARCHITECTURES: dict[str, Factory] = {**PLAIN, **HUB}

REPRESENTATIVE = (
    *PLAIN,
    *("vit", "convnext", "swin", "gpt2", "bert", "llama", "mixtral", "t5", "mamba", "mamba2"),
)
"""A third of them and what people write by hand, for the tests."""
