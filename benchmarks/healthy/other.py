"""Recommenders, point clouds, graphs, agents and token mixers, at the initialisation they are trained from."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from healthy.convolutional import WithExample

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def dense(*sizes: int, act: type[nn.Module] = nn.ReLU, last: bool = False) -> nn.Sequential:
    """Linear layers with an activation between them, and after the last where asked."""
    pairs = list(itertools.pairwise(sizes))
    layers: list[nn.Module] = []
    for index, (a, b) in enumerate(pairs):
        layers += [nn.Linear(a, b), *([act()] if last or index < len(pairs) - 1 else [])]
    return nn.Sequential(*layers)


class Dlrm(nn.Module):
    """Facebook's recommender: its own normal laws, pairwise products of embeddings."""

    def __init__(self, fields: int = 8, width: int = 16) -> None:
        super().__init__()
        self.bottom = dense(13, 512, 256, 64, width, last=True)
        self.tables = nn.ModuleList(nn.EmbeddingBag(1000, width, mode="sum") for _ in range(fields))
        pairs = fields * (fields + 1) // 2
        self.top = dense(pairs + width, 512, 256, 1)
        for module in (*self.bottom, *self.top):
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, math.sqrt(2 / (module.in_features + module.out_features)))
                nn.init.normal_(module.bias, 0.0, math.sqrt(1 / module.out_features))
        for table in self.tables:
            nn.init.uniform_(table.weight, -math.sqrt(1 / 1000), math.sqrt(1 / 1000))
        self.example_inputs = (torch.zeros(4, 13), torch.zeros(4, fields, 3, dtype=torch.long))

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        x = self.bottom(x)
        vectors = torch.stack([x, *(table(ids[:, k]) for k, table in enumerate(self.tables))], dim=1)
        products = torch.bmm(vectors, vectors.transpose(1, 2))
        rows, columns = torch.tril_indices(vectors.shape[1], vectors.shape[1], offset=-1)
        return self.top(torch.cat([x, products[:, rows, columns]], dim=1))


class WideAndDeep(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.wide = nn.Embedding(2000, 16), nn.Embedding(2000, 1)
        nn.init.xavier_uniform_(self.embedding.weight)
        self.deep = dense(160, 64, 64, 1)
        self.example_input = torch.zeros(4, 10, dtype=torch.long)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.wide(ids).sum(1) + self.deep(self.embedding(ids).flatten(1)))


class BagClassifier(nn.Module):
    """PyTorch's tutorial on text classification."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.fc = nn.EmbeddingBag(20000, 64), nn.Linear(64, 4)
        self.embedding.weight.data.uniform_(-0.5, 0.5)
        self.fc.weight.data.uniform_(-0.5, 0.5)
        self.fc.bias.data.zero_()
        self.example_input = torch.zeros(4, 12, dtype=torch.long)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.fc(self.embedding(ids))


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(1600, 128)),
        )
        self.head = nn.Linear(128, 1)
        self.example_inputs = (torch.zeros(4, 1, 28, 28), torch.zeros(4, 1, 28, 28))

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return self.head((self.body(a) - self.body(b)).abs())


class PointNet(nn.Module):
    """Shared layers, a learned alignment that starts as the identity, a maximum over points."""

    def __init__(self) -> None:
        super().__init__()

        def shared(a: int, b: int) -> list[nn.Module]:
            return [nn.Conv1d(a, b, 1), nn.BatchNorm1d(b), nn.ReLU()]

        self.align = nn.Sequential(*shared(3, 64), *shared(64, 128), *shared(128, 256))
        self.matrix = nn.Linear(256, 9)
        nn.init.zeros_(self.matrix.weight)
        self.matrix.bias.data.copy_(torch.eye(3).flatten())
        self.body = nn.Sequential(*shared(3, 64), *shared(64, 128), *shared(128, 512))
        self.head = nn.Sequential(
            nn.Linear(512, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Dropout(0.3), nn.Linear(256, 40)
        )
        self.example_input = torch.zeros(4, 3, 128)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        matrix = self.matrix(self.align(x).amax(2)).view(-1, 3, 3)
        return self.head(self.body(matrix @ x).amax(2))


def dqn() -> nn.Module:
    """The network of Mnih et al. (2015) with PyTorch's default."""
    return WithExample(
        *(nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 6)),
        shape=(4, 4, 84, 84),
    )


class ActorCritic(nn.Module):
    """CleanRL's agent for continuous control: orthogonal with gains, 0.01 for the policy."""

    def __init__(self) -> None:
        super().__init__()

        def layer(a: int, b: int, gain: float = math.sqrt(2)) -> nn.Linear:
            linear = nn.Linear(a, b)
            nn.init.orthogonal_(linear.weight, gain)
            nn.init.constant_(linear.bias, 0.0)
            return linear

        self.actor = nn.Sequential(layer(17, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, 6, 0.01))
        self.critic = nn.Sequential(layer(17, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, 1, 1.0))
        self.logstd = nn.Parameter(torch.zeros(1, 6))
        self.example_input = torch.zeros(4, 17)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        return self.actor(x), self.critic(x), self.logstd.expand(x.shape[0], -1)


class SoftActor(nn.Module):
    """SAC's policy: two layers of 256, mean and log standard deviation."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.mean, self.logstd = dense(17, 256, 256, last=True), nn.Linear(256, 6), nn.Linear(256, 6)
        self.example_input = torch.zeros(4, 17)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = self.body(x)
        return self.mean(h), -5 + 0.5 * 7 * (torch.tanh(self.logstd(h)) + 1)


class NeuralOde(nn.Module):
    """Eight Euler steps of one vector field, drawn with 0.1 as in torchdiffeq's demonstration."""

    def __init__(self) -> None:
        super().__init__()
        self.field, self.head = dense(16, 50, 16, act=nn.Tanh), nn.Linear(16, 2)
        for layer in self.field:
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, mean=0, std=0.1)
                nn.init.constant_(layer.bias, val=0)
        self.example_input = torch.zeros(4, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for _ in range(8):
            x = x + 0.125 * self.field(x)
        return self.head(x)


class GraphConvolution(nn.Module):
    """Kipf and Welling's network on a dense normalised adjacency."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(64, 16, bias=False), nn.Linear(16, 7, bias=False)
        nn.init.xavier_uniform_(self.first.weight)
        nn.init.xavier_uniform_(self.second.weight)
        self.bias1, self.bias2 = nn.Parameter(torch.zeros(16)), nn.Parameter(torch.zeros(7))
        self.example_inputs = (torch.zeros(30, 64), torch.zeros(30, 30))

    def forward(self, x: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        x = functional.relu(adjacency @ self.first(x) + self.bias1)
        return adjacency @ self.second(functional.dropout(x, training=self.training)) + self.bias2


class GraphAttention(nn.Module):
    def __init__(self, inputs: int = 64, width: int = 8, heads: int = 8) -> None:
        super().__init__()
        self.heads, self.width = heads, width
        self.project, self.out = nn.Linear(inputs, heads * width, bias=False), nn.Linear(heads * width, 7, bias=False)
        self.left, self.right = nn.Parameter(torch.empty(heads, width)), nn.Parameter(torch.empty(heads, width))
        for parameter in (self.project.weight, self.out.weight, self.left, self.right):
            nn.init.xavier_uniform_(parameter, gain=1.414)
        self.example_inputs = (torch.zeros(30, inputs), torch.zeros(30, 30))

    def forward(self, x: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        h = self.project(x).view(-1, self.heads, self.width)
        logits = (h * self.left).sum(-1)[:, None] + (h * self.right).sum(-1)[None]
        weights = functional.leaky_relu(logits, 0.2).masked_fill(adjacency[..., None] < 0, -9e15).softmax(1)
        return self.out(functional.elu(torch.einsum("ijh,jhw->ihw", weights, h).flatten(1)))


class SetTransformer(nn.Module):
    """Two blocks of self-attention over a set and pooling by a learned seed, all with residuals and no norm."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.enter, self.out = nn.Linear(3, width), nn.Linear(width, 10)
        self.attention = nn.ModuleList(nn.MultiheadAttention(width, 4, batch_first=True) for _ in range(3))
        self.feed = nn.ModuleList(nn.Linear(width, width) for _ in range(3))
        self.seed = nn.Parameter(torch.empty(1, 1, width))
        nn.init.xavier_uniform_(self.seed)
        self.example_input = torch.zeros(4, 20, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.enter(x)
        seed = self.seed.expand(x.shape[0], -1, -1)
        for index, (attention, feed) in enumerate(zip(self.attention, self.feed, strict=True)):
            query = seed if index == 2 else x
            y = query + attention(query, x, x, need_weights=False)[0]
            x = y + functional.relu(feed(y))
        return self.out(x[:, 0])


class Perceiver(nn.Module):
    def __init__(self, width: int = 128, latents: int = 32) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(1, latents, width) * 0.02)
        self.norm_q, self.norm_x = nn.LayerNorm(width), nn.LayerNorm(48)
        self.cross = nn.MultiheadAttention(width, 4, kdim=48, vdim=48, batch_first=True)
        layer = nn.TransformerEncoderLayer(width, 4, 2 * width, norm_first=True, activation="gelu", batch_first=True)
        self.body, self.head = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False), nn.Linear(width, 10)
        self.example_input = torch.zeros(4, 100, 48)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        queries = self.latents.expand(x.shape[0], -1, -1)
        x = self.norm_x(x)
        y = queries + self.cross(self.norm_q(queries), x, x, need_weights=False)[0]
        return self.head(self.body(y).mean(1))


class MixerBlock(nn.Module):
    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = dense(tokens, 256, tokens, act=nn.GELU)
        self.channels = dense(width, 4 * width, width, act=nn.GELU)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.tokens(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class SpatialGate(nn.Module):
    """gMLP's block; the spatial weights start near zero, their bias at one."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.norm, self.enter, self.leave = (
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.Linear(2 * width, width),
        )
        self.gate_norm, self.spatial = nn.LayerNorm(2 * width), nn.Linear(tokens, tokens)
        nn.init.normal_(self.spatial.weight, std=1e-6)
        nn.init.ones_(self.spatial.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        u, v = functional.gelu(self.enter(self.norm(x))).chunk(2, dim=-1)
        v = self.spatial(self.gate_norm(v).transpose(1, 2)).transpose(1, 2)
        return x + self.leave(u * v)


class LayerScaleBlock(nn.Module):
    """CaiT's block: each branch times 1e-6."""

    def __init__(self, _tokens: int, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention, self.mlp = (
            nn.MultiheadAttention(width, 4, batch_first=True),
            dense(width, 4 * width, width, act=nn.GELU),
        )
        self.gamma1, self.gamma2 = (nn.Parameter(1e-6 * torch.ones(width)) for _ in range(2))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm1(x)
        x = x + self.gamma1 * self.attention(y, y, y, need_weights=False)[0]
        return x + self.gamma2 * self.mlp(self.norm2(x))


class Patches(nn.Module):
    """Patches, blocks of one kind, norm, mean, classifier."""

    def __init__(self, block: Callable[[int, int], nn.Module], depth: int, width: int = 192) -> None:
        super().__init__()
        self.patch, self.norm, self.head = nn.Conv2d(3, width, 8, 8), nn.LayerNorm(width), nn.Linear(width, 100)
        self.blocks = nn.Sequential(*(block(64, width) for _ in range(depth)))
        self.example_input = torch.zeros(4, 3, 64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.blocks(self.patch(x).flatten(2).transpose(1, 2))).mean(1))


def selu_network() -> nn.Module:
    """Klambauer et al.: eight layers, LeCun normal."""
    model = dense(64, *([128] * 8), 10, act=nn.SELU)
    for layer in model:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            nn.init.zeros_(layer.bias)
    return WithExample(*model, shape=(8, 64))


def tabular(sizes: Sequence[int] = (30, 256, 128, 64)) -> nn.Module:
    layers: list[Any] = []
    for a, b in itertools.pairwise(sizes):
        layers += [nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU(), nn.Dropout(0.2)]
    return WithExample(*layers, nn.Linear(sizes[-1], 1), shape=(8, sizes[0]))


OTHER: dict[str, Callable[[], nn.Module]] = {
    "dlrm": Dlrm,
    "wide_and_deep": WideAndDeep,
    "bag_classifier": BagClassifier,
    "siamese": Siamese,
    "pointnet": PointNet,
    "dqn": dqn,
    "actor_critic": ActorCritic,
    "soft_actor": SoftActor,
    "neural_ode": NeuralOde,
    "gcn": GraphConvolution,
    "gat": GraphAttention,
    "set_transformer": SetTransformer,
    "perceiver": Perceiver,
    "mlp_mixer": lambda: Patches(MixerBlock, 8),
    "gmlp": lambda: Patches(SpatialGate, 8),
    "cait_layer_scale": lambda: Patches(LayerScaleBlock, 12),
    "selu_network": selu_network,
    "tabular_mlp": tabular,
}
"""Name -> factory."""
