"""Real exports of small nets by both of torch's exporters."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from initcheck.graph import Graph, Op
from initcheck.sources.onnx import load

if TYPE_CHECKING:
    from pathlib import Path

FORMS = ("legacy", "dynamo", pytest.param("raw", marks=pytest.mark.slow))
"""TorchScript exporter, the default exporter, and the default exporter without its optimiser."""


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.stages = nn.Sequential(Block(8), nn.Sequential(Block(8)))
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.norm(self.stem(x))), 2)
        return self.fc(F.adaptive_avg_pool2d(self.stages(x), 1).flatten(1))


class Rms(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class Norms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.group = nn.GroupNorm(4, 16)
        self.instance = nn.InstanceNorm2d(16, affine=True)
        self.layer = nn.LayerNorm(16)
        self.rms = Rms(16)
        self.gate = nn.Parameter(torch.zeros(1))
        self.fc = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.silu(self.instance(F.gelu(self.group(self.conv(x))))).mean((2, 3))
        return self.fc(x + self.gate * F.gelu(self.rms(self.layer(x)), approximate="tanh"))


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(50, 16)
        self.position = nn.Parameter(torch.randn(1, 12, 16) * 0.02)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        for parameter in self.encoder.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)
        self.head = nn.Linear(16, 50)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.encoder(self.embedding(ids) + self.position))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 16, 2, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0][:, -1])


class Deconvolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv1d(3, 8, 5, stride=2, padding=2)
        self.up = nn.ConvTranspose1d(8, 4, 4, stride=2, padding=1, output_padding=1, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.up(torch.tanh(self.down(x)))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Sequential(nn.Linear(32, 32), nn.ReLU()), nn.Linear(32, 10))


CASES = {
    "mlp": (mlp, lambda: torch.randn(2, 16)),
    "sequence": (mlp, lambda: torch.randn(2, 5, 16)),
    "residual": (Residual, lambda: torch.randn(2, 3, 33, 33)),
    "norms": (Norms, lambda: torch.randn(2, 3, 8, 8)),
    "encoder": (Encoder, lambda: torch.randint(0, 50, (2, 12))),
    "recurrent": (Recurrent, lambda: torch.randn(2, 7, 8)),
    "deconvolution": (Deconvolution, lambda: torch.randn(2, 3, 20)),
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("exports")
    graphs: dict[tuple[str, str, bool], Graph] = {}

    def export(case: str, form: str, *, training: bool = False) -> Graph:
        key = (case, form, training)
        if key not in graphs:
            graphs[key] = load(_export(folder / f"{'-'.join(map(str, key))}.onnx", *key))
        return graphs[key]

    return export


def _export(path: Path, case: str, form: str, training: bool) -> Path:
    torch.manual_seed(0)
    build, example = CASES[case]
    module, sample = build().train(training), example()
    mode = torch.onnx.TrainingMode.TRAINING if training else torch.onnx.TrainingMode.EVAL
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        if form == "legacy":
            torch.onnx.export(module, (sample,), str(path), dynamo=False, training=mode)
        else:
            torch.onnx.export(module, (sample,), str(path), dynamo=True, external_data=False, optimize=form == "dynamo")
    return path


def layers(graph: Graph) -> list[tuple[str, str]]:
    return [(node.path, node.kind) for node in graph.nodes]


@pytest.mark.parametrize("form", FORMS)
def test_nothing_is_opaque(exported, form):
    for case in CASES:
        graph = exported(case, form)
        assert [node.attributes["type"] for node in graph.nodes if node.op is Op.OPAQUE] == [], case
        assert all(graph.values[name].shape is not None for node in graph.nodes for name in node.outputs), case
        assert graph.producer.startswith("pytorch")


@pytest.mark.parametrize("case", ["mlp", "sequence"])
@pytest.mark.parametrize("form", FORMS)
def test_mlp(exported, case, form):
    graph = exported(case, form)
    expected = [("0", "linear"), ("1", "relu"), ("2.0", "linear"), ("2.1", "relu"), ("3", "linear")]
    assert layers(graph) == expected
    linear = [node for node in graph.nodes if node.op is Op.LINEAR]
    assert [(node.attributes["fan_in"], node.attributes["fan_out"]) for node in linear] == [
        (16, 32),
        (32, 32),
        (32, 10),
    ]
    for node in linear:
        weight, bias = graph.weight(node), graph.bias(node)
        assert weight is not None
        assert bias is not None
        assert weight.shape[node.attributes["out_axis"]] == node.attributes["fan_out"]
        assert weight.distribution.scheme == "kaiming_uniform(a=√5)"
        assert weight.name == f"{node.path}.weight"
    assert graph.parameter_count == sum(parameter.numel() for parameter in mlp().parameters())


RESIDUAL = [
    ("stem", "conv2d"),
    ("norm", "batch_norm"),
    ("stages.0.conv1", "conv2d"),
    ("stages.0.bn1", "batch_norm"),
    ("stages.0.conv2", "conv2d"),
    ("stages.0.bn2", "batch_norm"),
    ("stages.1.0.conv1", "conv2d"),
    ("stages.1.0.bn1", "batch_norm"),
    ("stages.1.0.conv2", "conv2d"),
    ("stages.1.0.bn2", "batch_norm"),
    ("fc", "linear"),
]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_batch_normalisation_stands_where_it_stood(exported, form, training):
    graph = exported("residual", form, training=training)
    found = [layer for layer in layers(graph) if layer[1] in {"conv2d", "batch_norm", "linear"}]
    legacy_fold = form == "legacy" and not training
    if legacy_fold:
        assert [kind for _, kind in found] == [kind for _, kind in RESIDUAL]
        assert [path for path, kind in found if kind != "batch_norm"] == [
            p for p, kind in RESIDUAL if kind != "batch_norm"
        ]
    else:
        assert found == RESIDUAL
    norms = [node for node in graph.nodes if node.op is Op.NORMALIZE]
    assert len(norms) == 5
    kept_in_inference_form = form == "raw" and not training
    assert all(node.attributes["training"] is not kept_in_inference_form for node in norms)
    assert graph.folded_normalization is False
    assert sum(node.op is Op.ADD for node in graph.nodes) == 2
    convolutions = [node for node in graph.nodes if node.op is Op.CONV]
    assert [node.attributes["fan_in"] for node in convolutions] == [27, 72, 72, 72, 72]
    assert convolutions[0].attributes["strides"] == (2, 2)


@pytest.mark.parametrize("form", FORMS)
def test_norms_and_activations(exported, form):
    graph = exported("norms", form)
    kinds = [node.kind for node in graph.nodes if node.op in {Op.NORMALIZE, Op.ELEMENTWISE}]
    assert kinds == ["group_norm", "gelu", "instance_norm", "silu", "layer_norm", "rms_norm", "gelu_tanh"]
    norms = {node.attributes["kind"]: node for node in graph.nodes if node.op is Op.NORMALIZE}
    assert {kind: node.path for kind, node in norms.items()} == {
        "group": "group",
        "instance": "instance",
        "layer": "layer",
        "rms": "rms",
    }
    assert norms["group"].attributes["groups"] == 4
    assert all(graph.parameters[node.inputs[1]].distribution.scheme == "ones" for node in norms.values())
    assert "gate" in graph.parameters


@pytest.mark.parametrize("form", FORMS)
def test_encoder(exported, form):
    graph = exported("encoder", form)
    weighted = [(node.path, node.kind) for node in graph.nodes if node.op in {Op.LINEAR, Op.EMBEDDING}]
    assert weighted[0] == ("embedding", "embedding")
    assert weighted[-1] == ("head", "linear")
    for index in (0, 1):
        for name in ("linear1", "linear2", "self_attn.out_proj"):
            assert (f"encoder.layers.{index}.{name}", "linear") in weighted
    assert sum(node.op is Op.NORMALIZE for node in graph.nodes) == 4
    assert sum(node.op is Op.SOFTMAX for node in graph.nodes) == 2
    assert sum(node.op is Op.MATMUL for node in graph.nodes) == 4
    projection = next(node for node in graph.nodes if node.path.startswith("encoder.layers.1.self_attn"))
    assert projection.path == "encoder.layers.1.self_attn"
    assert graph.parameters["position"].distribution.scheme == "normal(0, 0.02)"


@pytest.mark.parametrize("form", FORMS)
def test_recurrent(exported, form):
    graph = exported("recurrent", form)
    cells = [node for node in graph.nodes if node.op is Op.RECURRENT]
    assert [(node.path, node.kind, node.attributes["fan_in"]) for node in cells] == [
        ("lstm", "lstm", 8),
        ("lstm", "lstm", 16),
    ]
    assert all(node.attributes["hidden"] == 16 for node in cells)
    weight = graph.weight(cells[0])
    assert weight is not None
    assert weight.shape[-2:] == (64, 8)


@pytest.mark.parametrize("form", FORMS)
def test_transposed_convolution(exported, form):
    graph = exported("deconvolution", form)
    node = next(node for node in graph.nodes if node.op is Op.CONV_TRANSPOSE)
    assert (node.path, node.kind) == ("up", "conv_transpose1d")
    assert (node.attributes["fan_in"], node.attributes["out_axis"], node.attributes["groups"]) == (8, 1, 2)
    weight = graph.weight(node)
    assert weight is not None
    assert weight.distribution.scheme in {"kaiming_uniform(a=√5)", ""}
    assert graph.values[graph.main_output].shape == (2, 4, 21)
