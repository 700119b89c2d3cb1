"""Trains small transformers whose attention is saturated or collapsed, beside what initcheck says of them.

    python benchmarks/attention_start.py [NAME ...]

A model tags each of 16 tokens, drawn from 16 words of 4 classes: with the class of the token itself (``own``), of the
first token (``first``), of the token before (``previous``), or of the most frequent class of the sample, one label for
all (``majority``). It starts if its accuracy over 16 batches reaches 0.5 (chance 0.25) within 11 epochs of 56 batches
of 32 samples, at one of the rates tried, seed by seed. initcheck judges with the bounds for SGD. These are the trained
networks on which the bounds of INI504 and the severities of INI505 rest.
"""

from __future__ import annotations

import argparse
import math
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from judging import judge, load_torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody uses

from initcheck import Optimizer

if TYPE_CHECKING:
    from collections.abc import Callable

TOKENS, CLASSES, WIDTH, SAMPLES, BATCH, STEPS, WINDOW = 16, 4, 32, 1792, 32, 600, 16
RATES = {"sgd": (1e-1, 1e-2, 1e-3), "adam": (3e-3, 3e-4)}
THRESHOLD = 0.5


class Block(nn.Module):
    """Attention and a two-layer perceptron, normalised before each branch, or after it where there is no skip."""

    def __init__(self, query_key_std: float, *, skips: bool) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.skips = skips
        if query_key_std:
            for layer in (self.query, self.key):
                nn.init.normal_(layer.weight, std=query_key_std)

    def attention(self, x: Tensor) -> Tensor:
        query, key, value = (f(x).unflatten(-1, (4, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        return self.out((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))

    def forward(self, x: Tensor) -> Tensor:
        for norm, branch in zip(self.norms, (self.attention, lambda y: self.down(F.gelu(self.up(y)))), strict=True):
            x = x + branch(norm(x)) if self.skips else norm(branch(x))
        return x


class WordTagger(nn.Module):
    """Embeddings, learned positions, blocks, and scores for each token or for the mean of all."""

    def __init__(self, blocks: int, *, query_key_std: float = 0.0, skips: bool = True, pooled: bool = False) -> None:
        super().__init__()
        self.words = nn.Embedding(TOKENS, WIDTH)
        self.positions = nn.Parameter(torch.randn(TOKENS, WIDTH) * 0.1)
        self.blocks = nn.Sequential(*(Block(query_key_std, skips=skips) for _ in range(blocks)))
        self.head = nn.Linear(WIDTH, CLASSES)
        self.pooled = pooled

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.blocks(self.words(tokens) + self.positions)
        return self.head(x.mean(1) if self.pooled else x)


MODELS: dict[str, tuple[Callable[[], nn.Module], str]] = {
    **{
        f"{task}_qk_{std or 'default'}": (partial(WordTagger, 4, query_key_std=std), task)
        for task in ("own", "first", "previous")
        for std in (0.0, 0.3, 0.5, 1.0, 2.0)
    },
    **{f"own_no_skips_{blocks}": (partial(WordTagger, blocks, skips=False), "own") for blocks in (1, 2, 3, 6)},
    **{
        f"majority_no_skips_{blocks}": (partial(WordTagger, blocks, skips=False, pooled=True), "majority")
        for blocks in (3, 6, 12)
    },
}


def samples(task: str) -> tuple[Tensor, Tensor]:
    """Words (N, 16) and labels (N, 16), or (N,) for the majority."""
    rng = torch.Generator().manual_seed(3)
    most = torch.randint(0, CLASSES, (SAMPLES, 1), generator=rng).expand(SAMPLES, TOKENS)
    classes = torch.randint(0, CLASSES, (SAMPLES, TOKENS), generator=rng)
    if task == "majority":
        classes = torch.where(torch.rand(SAMPLES, TOKENS, generator=rng) < 0.45, most, classes)
    words = classes * 4 + torch.randint(0, 4, (SAMPLES, TOKENS), generator=rng)
    labels = {
        "own": classes,
        "first": classes[:, :1].expand(SAMPLES, TOKENS),
        "previous": torch.roll(classes, 1, 1),
        "majority": F.one_hot(classes, CLASSES).sum(1).argmax(1),
    }
    return words, labels[task].contiguous()


def steps_to_start(build: Callable[[], nn.Module], task: str, trainer: str, rate: float, seed: int) -> int | None:
    """Steps until the accuracy leaves chance, or None."""
    words, labels = samples(task)
    torch.manual_seed(seed)
    model = build()
    optimizer = (
        torch.optim.SGD(model.parameters(), rate, momentum=0.9)
        if trainer == "sgd"
        else torch.optim.Adam(model.parameters(), rate)
    )
    order, accuracies = torch.Generator().manual_seed(100 + seed), []
    while len(accuracies) < STEPS:
        for batch in torch.randperm(SAMPLES, generator=order).split(BATCH):
            scores, wanted = model(words[batch]).flatten(0, -2), labels[batch].flatten()
            loss = F.cross_entropy(scores, wanted)
            if not math.isfinite(loss.item()):
                return None
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            accuracies.append((scores.argmax(-1) == wanted).float().mean().item())
            if len(accuracies) >= WINDOW and sum(accuracies[-WINDOW:]) / WINDOW >= THRESHOLD:
                return len(accuracies)
    return None


def verdict(build: Callable[[], nn.Module]) -> str:
    """What initcheck says with the bounds for SGD, and the attention that it is about."""
    loaded = load_torch(build, root=Path(__file__).parent)
    if loaded.analysis is None:
        return f"no verdict: {loaded.failure}"
    facts = loaded.analysis.attention
    ratio = max(item.logit_variance / math.log(item.keys) for item in facts)
    judged = judge(loaded.analysis, Optimizer.SGD)
    told = [item for item in judged.findings if item in judged.loud() or item.code in {"INI504", "INI505"}]
    return f"logits {ratio:7.3g} ln T   {', '.join(f'{item.severity} {item.code}' for item in told) or 'clean'}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="these models only")
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(MODELS))
    if unknown:
        parser.error(f"no model {', '.join(unknown)}; there are {', '.join(MODELS)}")
    torch.set_num_threads(1)
    for name in options.names or MODELS:
        build, task = MODELS[name]
        columns = []
        for trainer, rates in RATES.items():
            starts = []
            for seed in range(options.seeds):
                tried = (steps_to_start(build, task, trainer, rate, seed) for rate in rates)
                starts.append(next((str(step) for step in tried if step is not None), "never"))
            columns.append(f"{trainer} {'/'.join(starts):>6}")
        print(f"{name:22} {'   '.join(columns)}   {verdict(build)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
