"""Verdicts on exports of common architectures by both torch exporters.

What is healthy must be clean, what is broken must be found.

    python benchmarks/exports.py [--keep FOLDER]

Needs the extra ``test``. Prints one row per model and exporter; exit code 1 when a verdict is wrong.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

Factory = Callable[[], tuple[nn.Module, torch.Tensor]]


def initialised(module: nn.Module, scheme: Callable[[torch.Tensor], Any]) -> nn.Module:
    for parameter in module.modules():
        if isinstance(parameter, nn.Linear | nn.Conv2d):
            scheme(parameter.weight)
            if parameter.bias is not None:
                nn.init.zeros_(parameter.bias)
    return module


def he(weight: torch.Tensor) -> None:
    nn.init.kaiming_normal_(weight, nonlinearity="relu")


def unchanged(_: torch.Tensor) -> None:
    pass


def scaled(gain: float) -> Callable[[torch.Tensor], None]:
    def draw(weight: torch.Tensor) -> None:
        he(weight)
        with torch.no_grad():
            weight.mul_(gain)

    return draw


def mlp(depth: int, width: int, scheme: Callable[[torch.Tensor], Any] | None) -> Factory:
    def build() -> tuple[nn.Module, torch.Tensor]:
        layers: list[nn.Module] = []
        for _ in range(depth):
            layers += [nn.Linear(width, width), nn.ReLU()]
        net = nn.Sequential(*layers, nn.Linear(width, 10))
        return (net if scheme is None else initialised(net, scheme)), torch.randn(4, width)

    return build


def vgg(scheme: Callable[[torch.Tensor], Any] | None, *, norm: bool, depth: int = 13) -> Factory:
    def build() -> tuple[nn.Module, torch.Tensor]:
        layers: list[nn.Module] = []
        channels = 3
        for index in range(depth):
            wide = min(32 * 2 ** (index // 3), 128)
            layers.append(nn.Conv2d(channels, wide, 3, padding=1, bias=not norm))
            layers += [nn.BatchNorm2d(wide)] if norm else []
            layers.append(nn.ReLU())
            layers += [nn.MaxPool2d(2)] if index % 3 == 2 else []
            channels = wide
        net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10))
        return (net if scheme is None else initialised(net, scheme)), torch.randn(4, 3, 32, 32)

    return build


class Block(nn.Module):
    def __init__(self, width: int, *, norm: bool, scale: float) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(width) if norm else nn.Identity() for _ in range(2)])
        self.scale = scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.norms[0](x))
        y = torch.relu(self.norms[1](self.first(y)))
        return x + self.scale * self.second(y)


def resnet(blocks: int, *, norm: bool, scale: float) -> Factory:
    def build() -> tuple[nn.Module, torch.Tensor]:
        stem = nn.Conv2d(3, 32, 3, padding=1)
        body = [Block(32, norm=norm, scale=scale) for _ in range(blocks)]
        net = nn.Sequential(stem, *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))
        return initialised(net, he), torch.randn(4, 3, 16, 16)

    return build


class Hugging(nn.Module):
    """A model of transformers with one tensor in and one out."""

    def __init__(self, model: nn.Module, key: str) -> None:
        super().__init__()
        self.model, self.key = model, key

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output = self.model(**{self.key: x})
        logits: torch.Tensor = output.logits if "logits" in output else output.last_hidden_state
        return logits


def transformer(name: str, key: str, example: torch.Tensor, **options: Any) -> Factory:
    def build() -> tuple[nn.Module, torch.Tensor]:
        import transformers

        config_name = name.replace("ForImageClassification", "").replace("ForCausalLM", "").replace("LMHeadModel", "")
        config_name = config_name.removesuffix("Model") + "Config"
        config = getattr(transformers, config_name)(**options)
        config._attn_implementation = "eager"
        return Hugging(getattr(transformers, name)(config), key), example

    return build


IMAGE = torch.zeros(2, 3, 64, 64)
TOKENS = torch.zeros(2, 16, dtype=torch.int64)
SMALL = {"hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 128}

MODELS: dict[str, tuple[Factory, bool]] = {
    "mlp 20 x 64, He": (mlp(20, 64, he), True),
    "mlp 3 x 64, PyTorch default": (mlp(3, 64, None), True),
    "mlp 20 x 64, PyTorch default": (mlp(20, 64, None), False),
    "mlp 30 x 64, variance x 4": (mlp(30, 64, scaled(2.0)), False),
    "mlp 100 x 8, He": (mlp(100, 8, he), False),
    "vgg 13, He": (vgg(he, norm=False), True),
    "vgg 13, PyTorch default": (vgg(None, norm=False), False),
    "vgg 13 with BatchNorm, PyTorch default": (vgg(None, norm=True), True),
    "resnet 16 with BatchNorm": (resnet(16, norm=True, scale=1.0), True),
    "resnet 30 without norm, scale 1": (resnet(30, norm=False, scale=1.0), False),
    "resnet 30 without norm, scale 1/sqrt(30)": (resnet(30, norm=False, scale=30**-0.5), True),
    "transformers ResNet": (
        transformer(
            "ResNetForImageClassification",
            "pixel_values",
            IMAGE,
            embedding_size=16,
            hidden_sizes=[16, 32, 64, 128],
            depths=[1, 1, 2, 1],
            layer_type="basic",
        ),
        True,
    ),
    "transformers ConvNeXt": (
        transformer(
            "ConvNextForImageClassification", "pixel_values", IMAGE, hidden_sizes=[16, 32, 64, 128], depths=[1, 1, 2, 1]
        ),
        True,
    ),
    "transformers MobileNetV2": (
        transformer("MobileNetV2ForImageClassification", "pixel_values", IMAGE, depth_multiplier=0.35, image_size=64),
        True,
    ),
    "transformers PoolFormer": (
        transformer(
            "PoolFormerForImageClassification",
            "pixel_values",
            IMAGE,
            hidden_sizes=[16, 32, 64, 64],
            depths=[1, 1, 2, 1],
        ),
        True,
    ),
    "transformers ViT": (
        transformer("ViTForImageClassification", "pixel_values", IMAGE, image_size=64, patch_size=16, **SMALL),
        True,
    ),
    "transformers GPT-2": (
        transformer(
            "GPT2LMHeadModel", "input_ids", TOKENS, n_embd=64, n_layer=4, n_head=4, vocab_size=256, use_cache=False
        ),
        True,
    ),
    "transformers BERT": (transformer("BertModel", "input_ids", TOKENS, vocab_size=256, **SMALL), True),
    "transformers Llama": (
        transformer(
            "LlamaForCausalLM", "input_ids", TOKENS, vocab_size=256, num_key_value_heads=2, use_cache=False, **SMALL
        ),
        True,
    ),
}

DYNAMO_ONLY = {"transformers GPT-2", "transformers Llama"}
"""The legacy exporter does not know an operator of their masks, and prints the whole graph to say so."""


def export(factory: Factory, path: Path, exporter: str) -> str:
    """Export one model; returns the reason when the exporter refuses."""
    torch.manual_seed(0)
    module, example = factory()
    module.train()
    try:
        _export(module, example, path, exporter)
    except Exception as error:  # noqa: BLE001 - a refusal of the exporter is a row of the table
        path.unlink(missing_ok=True)
        return f"{type(error).__name__}: {str(error).splitlines()[0][:60]}"
    return ""


def _export(module: nn.Module, example: torch.Tensor, path: Path, exporter: str) -> None:
    if exporter == "dynamo":
        torch.onnx.export(module, (example,), str(path), dynamo=True, optimize=False, verbose=False)
        return
    mode = torch.onnx.TrainingMode.TRAINING
    torch.onnx.export(
        module, (example,), str(path), dynamo=False, training=mode, do_constant_folding=False, opset_version=17
    )


def lint(path: Path) -> dict[str, Any]:
    command = ["initcheck", "check", "-f", "json", "--fail-on", "never", "--no-progress", str(path)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if not run.stdout:
        sys.exit(run.stderr)
    report: dict[str, Any] = json.loads(run.stdout)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="folder to keep the exports in and to reuse")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    wrong = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{'model':42s} {'exporter':8s} {'expected':8s} {'verdict':8s} {'layers':>9s}  codes")
        for index, (name, (factory, healthy)) in enumerate(MODELS.items()):
            for exporter in ("dynamo",) if name in DYNAMO_ONLY else ("dynamo", "legacy"):
                path = folder / f"{index:02d}-{exporter}.onnx"
                refused = "" if path.exists() else export(factory, path, exporter)
                if refused:
                    print(f"{name:42s} {exporter:8s} not exported: {refused}")
                    continue
                report = lint(path)
                verdict = report["models"][0].get("verdict", "failed") if report["models"] else "failed"
                flagged = verdict in {"warning", "error"}
                right = verdict != "failed" and flagged != healthy
                wrong += not right
                model = report["models"][0]
                layers = f"{model.get('analysed_layers')}/{model.get('weighted_layers')}"
                codes = " ".join(sorted({finding["code"] for finding in report["findings"]}))
                expected = "clean" if healthy else "flagged"
                mark = "" if right else "  <- wrong"
                print(f"{name:42s} {exporter:8s} {expected:8s} {verdict:8s} {layers:>9s}  {codes}{mark}", flush=True)
    print(f"{wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
