"""Who wrote a parameter, in which order, from which line; and whether anybody did."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING

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
    def __init__(self, second: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(70, 80)
        nn.init.orthogonal_(self.layer.weight)
        if second:
            nn.init.normal_(self.layer.weight)


class Assigned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(70, 80)
        nn.init.orthogonal_(self.layer.weight)
        self.layer.weight.data = torch.randn(80, 70) * 0.1
        self.table = nn.Parameter(torch.zeros(80, 70))
        nn.init.trunc_normal_(self.table, std=0.02)


def test_an_initialisation_that_is_lost() -> None:
    assert not recorded(lambda: Twice(False))["layer.weight"].overwritten, "only the default is lost"
    assert recorded(lambda: Twice(True))["layer.weight"].overwritten
    found = recorded(Assigned)
    assert found["layer.weight"].overwritten
    assert [write.initializer for write in found["layer.weight"].history][1:] == ["orthogonal_", "randn", "mul(0.1)"]
    assert not found["table"].overwritten, "zeros came with the allocation"


def test_tied_names() -> None:
    def factory() -> nn.Module:
        module = nn.ModuleDict({"a": nn.Embedding(70, 80), "b": nn.Linear(80, 70, bias=False)})
        module["b"].weight = module["a"].weight
        return module

    found = recorded(factory)
    assert found["b.weight"].tied_to == "a.weight"
    assert found["a.weight"].tied_to == ""
    assert found["b.weight"].distribution == found["a.weight"].distribution
