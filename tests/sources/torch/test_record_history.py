"""Who wrote a parameter, in which order, from which line; and whether anybody did."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import nn

from initcheck.sources.torch.build import build

if TYPE_CHECKING:
    from initcheck.sources.torch.built import RecordedTensor

ROOT = Path(__file__).resolve().parent
HERE = Path(__file__).name


def line(offset: int = 0) -> int:
    """Line of the caller."""
    return inspect.currentframe().f_back.f_lineno + offset


def recorded(factory: object, root: Path = ROOT) -> dict[str, RecordedTensor]:
    return dict(build(factory, max_memory=0, root=root).parameters)


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(80, 70)
        self.first_line = line(-1)
        self.second = nn.Linear(80, 70)
        nn.init.kaiming_normal_(self.second.weight, nonlinearity="relu")
        self.second_line = line(-1)
        self.second.weight.data.mul_(0.5)
        self.apply(self._zero)

    def _zero(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
            self.bias_line = line(-1)


def test_writes_come_in_order_with_the_users_line() -> None:
    built = build(Model, max_memory=0, root=ROOT)
    model, found = built.module, built.parameters
    history = [(write.initializer, write.location.line) for write in found["second.weight"].history]
    assert history == [
        ("kaiming_uniform_(a=√5)", model.second_line - 1),
        ("kaiming_normal_(nonlinearity='relu')", model.second_line),
        ("mul_(0.5)", model.second_line + 2),
    ]
    assert [write.location.line for write in found["first.weight"].history] == [model.first_line]
    assert found["first.bias"].history[-1].location.line == model.bias_line
    location = found["first.bias"].history[-1].location
    assert (location.file, location.confidence) == (HERE, "exact")


def test_code_outside_the_project_has_no_line(tmp_path: Path) -> None:
    history = recorded(Model, tmp_path)["second.weight"].history
    assert [write.initializer for write in history][-1] == "mul_(0.5)"
    assert {write.location for write in history} == {None}


def test_what_nothing_wrote_is_known_as_such() -> None:
    def factory() -> nn.Module:
        module = nn.Module()
        module.empty = nn.Parameter(torch.empty(70, 80))
        module.scaled = nn.Parameter(torch.empty(70, 80).mul_(2))
        module.cast = nn.Parameter(torch.empty(70, 80).half())
        module.legacy = nn.Parameter(torch.Tensor(7, 8))
        module.register_buffer("buffer", torch.empty(7))
        module.part = nn.Parameter(torch.empty(70, 80))
        module.part.data[0] = 1.0
        module.full = nn.Parameter(torch.empty(70, 80).fill_(2.0))
        return module

    found = recorded(factory)
    for name in ("empty", "scaled", "cast", "legacy", "buffer"):
        assert not found[name].written, name
        assert found[name].distribution is None
        assert found[name].values is None
    assert found["part"].written
    assert found["part"].distribution is None
    assert found["full"].written


@pytest.mark.parametrize("on_meta", [True, False])
def test_memory_that_is_written_in_part_is_not_estimated(on_meta: bool) -> None:
    def factory() -> nn.Module:
        module = nn.Linear(90, 60, bias=False)
        module.weight = nn.Parameter(torch.empty(60, 90))
        module.weight.data[0] = 1.0
        if not on_meta:
            assert module.weight.numpy(force=True)[0, 0] == 1
        return module

    built = build(factory, max_memory=1 << 20, root=ROOT)
    assert built.on_meta is on_meta
    assert built.parameters["weight"].distribution is None
    if on_meta:
        assert "in part" in built.notes[0]


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(70, 80)
        nn.init.orthogonal_(self.layer.weight)
        self.apply(self._draw)
        with torch.no_grad():
            self.layer.weight[0] = 0.0
        self.layer.reset_parameters()
        self.layer.weight.data.copy_(torch.randn(80, 70))

    def _draw(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight)


class Assigned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(70, 80)
        nn.init.orthogonal_(self.layer.weight)
        self.layer.weight.data = torch.randn(80, 70) * 0.1
        self.table = nn.Parameter(torch.zeros(80, 70))
        nn.init.trunc_normal_(self.table, std=0.02)


def test_what_each_write_is() -> None:
    history = recorded(Twice)["layer.weight"].history
    names = ["kaiming_uniform_", "orthogonal_", "normal_", "fill_", "kaiming_uniform_", "randn", "copy_"]
    assert [write.initializer.partition("(")[0] for write in history] == names
    assert [write.effect for write in history] == [*["renew"] * 3, "change", *["renew"] * 2, "copy"]
    assert [write.default for write in history] == [True, *[False] * 4, True, False]
    assert [write.routine for write in history] == ["reset_parameters", "", "", "", "reset_parameters", "", ""]
    assert [[call.function for call in write.calls] for write in history][1:3] == [["__init__"], ["__init__", "_draw"]]
    assert [write.distribution.scheme for write in history[:3]] == [
        "kaiming_uniform(a=√5)",
        "orthogonal",
        "normal(0, 1)",
    ]
    assert history[-1].distribution is None, "nothing takes its place"


def test_an_assignment_of_data_goes_on_with_the_history() -> None:
    found = recorded(Assigned)
    history = found["layer.weight"].history
    assert [write.initializer for write in history][1:] == ["orthogonal_", "randn", "mul(0.1)"]
    assert not any(write.default for write in history[1:])
    assert [write.default for write in found["table"].history] == [True, False], "zeros came with the allocation"


def test_what_a_library_makes_in_its_constructor_is_a_default() -> None:
    history = recorded(lambda: nn.MultiheadAttention(8, 2))["in_proj_weight"].history
    assert [(write.default, write.routine) for write in history] == [(True, "_reset_parameters")]


def test_memory_that_its_user_wants_later() -> None:
    def factory() -> nn.Module:
        module = nn.Module()
        with torch.device("meta"):
            module.within = nn.Parameter(torch.empty(3))
            module.elsewhere = nn.Parameter(torch.empty(3, device="cpu"))
            module.layer = nn.Linear(3, 3)
        module.named = nn.Parameter(torch.empty(3, device="meta"))
        module.beside = nn.Parameter(torch.empty(3, device=module.elsewhere.device))
        module.given = nn.Linear(3, 3, device="meta").to_empty(device="cpu")
        return module

    found = recorded(factory)
    assert {name for name, tensor in found.items() if tensor.awaited} == {
        *("within", "named", "layer.weight", "layer.bias"),
    }
    assert {name for name, tensor in found.items() if not tensor.written} == {
        *("within", "elsewhere", "named", "beside", "given.weight", "given.bias"),
    }
    assert found["given.weight"].allocation.routine == "to_empty"


@pytest.mark.parametrize("hand_out", [torch.Tensor.data_ptr, np.from_dlpack])
def test_memory_whose_address_is_known_may_be_written_unseen(hand_out: object) -> None:
    def factory() -> nn.Module:
        module = nn.Linear(4, 4, bias=False)
        module.weight = nn.Parameter(torch.empty(4, 4))
        module.weight.numpy(force=True)  # what no tensor on the meta device has
        module.bare = nn.Parameter(torch.empty(4))
        hand_out(module.bare.detach())
        return module

    found = dict(build(factory, max_memory=1 << 20, root=ROOT).parameters)
    assert found["bare"].written


def test_tied_names() -> None:
    def factory() -> nn.Module:
        module = nn.ModuleDict({"a": nn.Embedding(70, 80), "b": nn.Linear(80, 70, bias=False)})
        module["b"].weight = module["a"].weight
        return module

    found = recorded(factory)
    assert found["b.weight"].tied_to == "a.weight"
    assert found["a.weight"].tied_to == ""
    assert found["b.weight"].distribution == found["a.weight"].distribution
