"""Recurrent and attention models of sequences in plain torch, at the initialisation they are trained from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

if TYPE_CHECKING:
    from collections.abc import Callable


class Tagger(nn.Module):
    """Embedding, recurrent layers, linear; the last state or all of them."""

    def __init__(
        self, layer: type[nn.Module], *, width: int = 128, layers: int = 2, every: bool = False, **options: Any
    ) -> None:
        super().__init__()
        self.every = every
        self.embedding = nn.Embedding(5000, width)
        self.rnn = layer(width, width, layers, batch_first=True, **options)
        both = 2 if options.get("bidirectional") else 1
        self.head = nn.Linear(both * width, 5000 if every else 2)
        self.example_input = torch.zeros(4, 20, dtype=torch.long)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        states, _ = self.rnn(self.embedding(ids))
        return self.head(states if self.every else states[:, -1])


class WordModel(nn.Module):
    """PyTorch's word language model: embedding and head uniform in ±0.1."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = nn.Dropout(0.2)
        self.encoder, self.rnn, self.decoder = (
            nn.Embedding(10000, 200),
            nn.LSTM(200, 200, 2, dropout=0.2),
            nn.Linear(200, 10000),
        )
        nn.init.uniform_(self.encoder.weight, -0.1, 0.1)
        nn.init.zeros_(self.decoder.bias)
        nn.init.uniform_(self.decoder.weight, -0.1, 0.1)
        self.example_input = torch.zeros(20, 4, dtype=torch.long)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.drop(self.rnn(self.drop(self.encoder(ids)))[0]))


class OrthogonalLstm(nn.Module):
    """Orthogonal recurrent weights, Xavier input weights, forget bias one."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn, self.head = nn.LSTM(16, 128, batch_first=True), nn.Linear(128, 10)
        for name, parameter in self.rnn.named_parameters():
            if "weight_hh" in name:
                nn.init.orthogonal_(parameter)
            elif "weight_ih" in name:
                nn.init.xavier_uniform_(parameter)
            else:
                nn.init.zeros_(parameter)
                parameter.data[128:256].fill_(1.0)
        self.example_input = torch.zeros(4, 30, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class Seq2Seq(nn.Module):
    """PyTorch's translation tutorial with attention over the encoder's states."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.source, self.target = nn.Embedding(3000, width), nn.Embedding(3000, width)
        self.encoder = nn.GRU(width, width, batch_first=True)
        self.decoder = nn.GRU(width, width, batch_first=True)
        self.query, self.join, self.out = nn.Linear(width, width), nn.Linear(2 * width, width), nn.Linear(width, 3000)
        ids = torch.zeros(4, 10, dtype=torch.long)
        self.example_inputs = (ids, ids)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        memory, state = self.encoder(self.source(source))
        y, _ = self.decoder(functional.relu(self.target(target)), state)
        weights = torch.softmax(self.query(y) @ memory.transpose(1, 2) / math.sqrt(y.shape[-1]), dim=-1)
        return self.out(torch.tanh(self.join(torch.cat((y, weights @ memory), dim=-1))))


class TemporalBlock(nn.Module):
    """TCN's block: two causal convolutions under weight normalisation, drawn with 0.01."""

    def __init__(self, inputs: int, outputs: int, dilation: int) -> None:
        super().__init__()
        self.pad = 2 * dilation
        self.conv1 = weight_norm(nn.Conv1d(inputs, outputs, 3, padding=self.pad, dilation=dilation))
        self.conv2 = weight_norm(nn.Conv1d(outputs, outputs, 3, padding=self.pad, dilation=dilation))
        self.down = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else None
        self.drop = nn.Dropout(0.2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.drop(functional.relu(self.conv1(x)[..., : -self.pad]))
        y = self.drop(functional.relu(self.conv2(y)[..., : -self.pad]))
        return functional.relu(y + (x if self.down is None else self.down(x)))


class TemporalConvNet(nn.Module):
    def __init__(self, width: int = 64, levels: int = 6) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(TemporalBlock(width if k else 1, width, 2**k) for k in range(levels)))
        self.head = nn.Linear(width, 10)
        self.example_input = torch.zeros(4, 1, 128)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(x)[:, :, -1])


class CausalAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.qkv, self.c_proj = heads, nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).flatten(2))


class GptBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(width), CausalAttention(width, heads), nn.LayerNorm(width)
        self.c_fc, self.c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.c_proj(functional.gelu(self.c_fc(self.ln_2(x))))


class NanoGpt(nn.Module):
    """Tied embeddings, 0.02 everywhere, residual projections divided by √(2 layers)."""

    def __init__(self, width: int = 384, layers: int = 6, heads: int = 6) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(65, width), nn.Embedding(64, width)
        self.blocks, self.ln_f = nn.ModuleList(GptBlock(width, heads) for _ in range(layers)), nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, 65, bias=False)
        self.wte.weight = self.lm_head.weight
        self.apply(self._init)
        for name, parameter in self.named_parameters():
            if name.endswith("c_proj.weight"):
                nn.init.normal_(parameter, mean=0.0, std=0.02 / math.sqrt(2 * layers))
        self.example_input = torch.zeros(4, 64, dtype=torch.long)

    @staticmethod
    def _init(module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, mean=0.0, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        return self.lm_head(self.ln_f(x))


class PlainBert(nn.Module):
    """BERT-large's shape in torch's own encoder: post-norm, 24 layers, 0.02."""

    def __init__(self, width: int = 1024, layers: int = 24, heads: int = 16) -> None:
        super().__init__()
        self.tokens, self.places, self.norm = nn.Embedding(30522, width), nn.Embedding(512, width), nn.LayerNorm(width)
        layer = nn.TransformerEncoderLayer(width, heads, 4 * width, activation="gelu", batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, layers), nn.Linear(width, 30522)
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            elif isinstance(module, nn.MultiheadAttention):
                nn.init.normal_(module.in_proj_weight, std=0.02)
        self.example_input = torch.zeros(2, 32, dtype=torch.long)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device)))
        return self.head(self.encoder(x))


class AnnotatedTransformer(nn.Module):
    """torch's nn.Transformer as translation tutorials use it: embeddings times √width, Xavier uniform."""

    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.width = width
        self.source, self.target = nn.Embedding(8000, width), nn.Embedding(8000, width)
        self.places = nn.Parameter(torch.randn(1, 16, width) * 0.02)
        self.transformer, self.generator = nn.Transformer(width, 8, 3, 3, batch_first=True), nn.Linear(width, 8000)
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        ids = torch.zeros(4, 16, dtype=torch.long)
        self.example_inputs = (ids, ids)

    def forward(self, source: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        scale = math.sqrt(self.width)
        y = self.transformer(self.source(source) * scale + self.places, self.target(target) * scale + self.places)
        return self.generator(y)


class ReZeroLayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 4, batch_first=True)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.alpha = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.alpha * self.attention(x, x, x, need_weights=False)[0]
        return x + self.alpha * self.down(functional.relu(self.up(x)))


class ReZero(nn.Module):
    """No normalisation at all: each branch starts with factor zero."""

    def __init__(self, width: int = 128, layers: int = 24) -> None:
        super().__init__()
        self.tokens = nn.Embedding(1000, width)
        self.layers, self.head = nn.ModuleList(ReZeroLayer(width) for _ in range(layers)), nn.Linear(width, 1000)
        self.example_input = torch.zeros(4, 32, dtype=torch.long)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids)
        for layer in self.layers:
            x = layer(x)
        return self.head(x)


class LowRank(nn.Module):
    """A linear layer with an adapter whose second factor is zero."""

    def __init__(self, base: nn.Linear, rank: int = 8) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.a, self.b = nn.Linear(base.in_features, rank, bias=False), nn.Linear(rank, base.out_features, bias=False)
        nn.init.kaiming_uniform_(self.a.weight, a=math.sqrt(5))
        nn.init.zeros_(self.b.weight)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.b(self.a(x)) * 2.0


def adapted_gpt() -> nn.Module:
    model = NanoGpt(width=192, layers=4)
    for block in model.blocks:
        block.attn.qkv = LowRank(block.attn.qkv)
        block.c_fc = LowRank(block.c_fc)
    return model


SEQUENCES: dict[str, Callable[[], nn.Module]] = {
    "lstm_classifier": lambda: Tagger(nn.LSTM),
    "bilstm_classifier": lambda: Tagger(nn.LSTM, bidirectional=True, dropout=0.3),
    "gru_classifier": lambda: Tagger(nn.GRU),
    "gru_language_model": lambda: Tagger(nn.GRU, every=True),
    "tanh_rnn_classifier": lambda: Tagger(nn.RNN, layers=1),
    "word_language_model": WordModel,
    "orthogonal_lstm": OrthogonalLstm,
    "seq2seq_attention": Seq2Seq,
    "tcn": TemporalConvNet,
    "nano_gpt": NanoGpt,
    "bert_large_plain": PlainBert,
    "annotated_transformer": AnnotatedTransformer,
    "rezero_transformer": ReZero,
    "lora_gpt": adapted_gpt,
}
"""Name -> factory."""
