"""Built on meta, given memory, then initialised by its own method: what stays unwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from architectures import TEXT, hub
from torch import nn

from initcheck.sources.torch.build import build
from initcheck.sources.torch.deferred import record_deferred

ROOT = Path(__file__).resolve().parent


def unwritten(factory: object) -> list[str]:
    module = build(factory, max_memory=0, root=ROOT).module
    found = record_deferred(module, ROOT)
    assert set(found) == {
        name for name, _ in (*module.named_parameters(remove_duplicate=False), *module.named_buffers())
    }
    return [name for name, tensor in found.items() if not tensor.written]


def test_layers_that_reset_themselves_leave_the_rest() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.LayerNorm(4))
            self.gate = nn.Parameter(torch.ones(4))
            self.attention = nn.MultiheadAttention(4, 2)

    assert unwritten(Model) == ["gate", "attention.in_proj_weight", "attention.in_proj_bias"]


def test_a_models_own_method_goes_first() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(30, 40)
            self.init_weights()

        def init_weights(self) -> None:
            nn.init.trunc_normal_(self.layer.weight, std=0.02)

    assert unwritten(Model) == ["layer.bias"]
    found = record_deferred(build(Model, max_memory=0, root=ROOT).module, ROOT)
    assert found["layer.weight"].distribution.scheme == "normal(0, 0.02)"
    assert [write.initializer for write in found["layer.weight"].history] == ["trunc_normal_(std=0.02)"]


def test_a_module_without_the_route() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def init_weights(self, std: float) -> None:
            nn.init.normal_(self.weight, std=std)

    assert record_deferred(build(Bare, max_memory=0, root=ROOT).module, ROOT) == {}


def test_the_module_stays_as_it_is() -> None:
    built = build(lambda: nn.Sequential(nn.Linear(3, 4)), max_memory=0, root=ROOT)
    parameters = [id(parameter) for parameter in built.module.parameters()]
    record_deferred(built.module, ROOT)
    assert [id(parameter) for parameter in built.module.parameters()] == parameters
    assert not torch.__future__.get_overwrite_module_params_on_conversion()


OPENAI = hub("OpenAIGPTConfig", "OpenAIGPTLMHeadModel", vocab_size=64, n_embd=16, n_layer=1, n_head=2, n_positions=16)


@pytest.mark.parametrize(
    ("factory", "forgotten"),
    [
        (OPENAI, {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"}),
        (hub("ApertusConfig", "ApertusForCausalLM", **TEXT), {"mlp.act_fn"}),
        (hub("Data2VecTextConfig", "Data2VecTextForCausalLM", is_decoder=True, **TEXT), {"lm_head", "lm_head.decoder"}),
        (hub("LlamaConfig", "LlamaForCausalLM", **TEXT), set()),
        (hub("BertConfig", "BertForMaskedLM", **TEXT), set()),
    ],
)
def test_transformers(factory: object, forgotten: set[str]) -> None:
    pytest.importorskip("transformers", minversion="5.23")
    owners = {name.rpartition(".")[0] for name in unwritten(factory)}
    assert {".".join(owner.split(".")[-2:]) if "." in owner else owner for owner in owners} == forgotten
