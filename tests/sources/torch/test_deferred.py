"""Built on meta, given memory, then initialised by its own method: what stays unwritten."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from architectures import TEXT, hub
from torch import nn

from initcheck.sources.torch.build import build
from initcheck.sources.torch.deferred import find_route, record_deferred

if TYPE_CHECKING:
    from initcheck.sources.torch.built import RecordedTensor

ROOT = Path(__file__).resolve().parent


def recorded(module: nn.Module) -> dict[str, RecordedTensor]:
    route = find_route(module, ROOT)
    assert route is not None
    return dict(record_deferred(module, route, ROOT))


def unwritten(factory: object) -> list[str]:
    module = build(factory, max_memory=0, root=ROOT).module
    found = recorded(module)
    assert set(found) == {
        name for name, _ in (*module.named_parameters(remove_duplicate=False), *module.named_buffers())
    }
    return [name for name, tensor in found.items() if not tensor.written]


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.LayerNorm(4))
        nn.init.orthogonal_(self.layers[0].weight)


def test_layers_that_all_reset_themselves() -> None:
    module = build(Plain, max_memory=0, root=ROOT).module
    route = find_route(module, ROOT)
    assert route is not None
    assert route.of_layers
    found = record_deferred(module, route, ROOT)
    assert all(tensor.written for tensor in found.values())
    assert found["layers.0.weight"].distribution.scheme == "kaiming_uniform(a=√5)"


def test_one_layer_that_cannot_reset_itself_closes_that_way() -> None:
    class Gated(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.gate = nn.Parameter(torch.ones(4))

    assert find_route(build(Gated, max_memory=0, root=ROOT).module, ROOT) is None


def test_a_callback_for_apply() -> None:
    class Model(Plain):
        def _init_weights(self, module: nn.Module) -> None:
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.02)

    route = find_route(build(Model, max_memory=0, root=ROOT).module, ROOT)
    assert route is not None
    assert (route.shown, route.evidence, route.of_layers) == ("apply(_init_weights)", "", False)
    assert unwritten(Model)[:2] == ["layers.0.bias", "layers.1.weight"]


def test_what_shows_that_the_route_is_meant() -> None:
    class Deferred(Plain):
        def init_weights(self, buffer_device: torch.device | None = None) -> None:
            for layer in self.layers:
                layer.reset_parameters()

    class Helper(Plain):
        def init_weights(self) -> None:
            nn.init.zeros_(self.layers[0].bias)

    routes = [find_route(build(kind, max_memory=0, root=ROOT).module, ROOT) for kind in (Deferred, Helper)]
    assert [route.evidence for route in routes if route] == ["init_weights() takes the argument buffer_device", ""]


def test_a_librarys_own_class_is_no_evidence() -> None:
    pytest.importorskip("transformers")
    model = build(hub("LlamaConfig", "LlamaForCausalLM", **TEXT), max_memory=0, root=ROOT).module
    route = find_route(model, ROOT)
    assert route is not None
    assert route.evidence == ""
    own = type("Own", (type(model),), {"__module__": __name__, "__qualname__": "Plain"})
    object.__setattr__(model, "__class__", own)
    route = find_route(model, ROOT)
    assert route is not None
    assert "transformers" in route.evidence


def test_a_models_own_method_goes_first() -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(30, 40)
            self.init_weights()

        def init_weights(self) -> None:
            nn.init.trunc_normal_(self.layer.weight, std=0.02)

    assert unwritten(Model) == ["layer.bias"]
    found = recorded(build(Model, max_memory=0, root=ROOT).module)
    assert found["layer.weight"].distribution.scheme == "normal(0, 0.02)"
    assert [write.initializer for write in found["layer.weight"].history] == ["trunc_normal_(std=0.02)"]


def test_a_module_without_the_route() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(3))

        def init_weights(self, std: float) -> None:
            nn.init.normal_(self.weight, std=std)

    assert find_route(build(Bare, max_memory=0, root=ROOT).module, ROOT) is None


def test_the_module_stays_as_it_is() -> None:
    built = build(lambda: nn.Sequential(nn.Linear(3, 4)), max_memory=0, root=ROOT)
    parameters = [id(parameter) for parameter in built.module.parameters()]
    recorded(built.module)
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
