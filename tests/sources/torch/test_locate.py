"""Lines of the user's source that make the layers."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from as_built import as_built

from initcheck.graph import Graph, Location
from initcheck.sources.torch.load import graph_of
from initcheck.sources.torch.locate import Locator

if TYPE_CHECKING:
    from types import ModuleType

SOURCE = """\
import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.fc1 = nn.Linear(width, width)
        self.fc2, self.fc3 = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        y = torch.relu(self.fc1(x))
        return x + self.fc3(self.fc2(y))


class Model(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Linear(4, width),
            nn.ReLU(),
        )
        self.blocks = nn.ModuleList(Block(width) for _ in range(2))
        self.add_module("head", nn.Linear(width, 2))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Child(Model):
    pass


def build():
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU())
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    path = tmp_path_factory.mktemp("project") / "user_models.py"
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("user_models", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["user_models"] = module
    spec.loader.exec_module(module)
    return module


def line(text: str) -> int:
    return next(number for number, row in enumerate(SOURCE.splitlines(), 1) if text in row)


def lowered(user: ModuleType, name: str) -> Graph:
    return graph_of(as_built(getattr(user, name)()), root=Path(user.__file__ or "").parent)


@pytest.mark.parametrize("name", ["Model", "Child"])
def test_layers_have_the_line_that_makes_them(user: ModuleType, name: str) -> None:
    found = {node.path: node.location for node in lowered(user, name).nodes if node.kind == "linear"}
    expected = {
        "stem.0": "self.stem =",
        "blocks.0.fc1": "self.fc1 =",
        "blocks.1.fc2": "self.fc2, self.fc3 =",
        "blocks.1.fc3": "self.fc2, self.fc3 =",
        "head": 'self.add_module("head"',
    }
    for path, text in expected.items():
        assert found[path] == Location("user_models.py", line(text), "exact")


def test_operations_of_the_forward_pass_have_its_line(user: ModuleType) -> None:
    nodes = lowered(user, "Model").nodes
    added = next(node for node in nodes if node.kind == "add")
    assert added.location == Location("user_models.py", line("return x + self.fc3"), "exact")


def test_containers_have_the_statement_and_what_nobody_names_the_class(user: ModuleType) -> None:
    model = user.Model()
    locator = Locator(model, Path(user.__file__ or "").parent)
    assert locator.layer("blocks.1") == Location("user_models.py", line("self.blocks ="), "exact")
    assert locator.layer("") == Location("user_models.py", line("class Model"), "class")
    model.later = user.nn.Linear(2, 2)
    assert locator.layer("later") == Location("user_models.py", line("class Model"), "class")


def test_a_factory_of_library_modules_is_the_last_resort(user: ModuleType) -> None:
    factory = Location("user_models.py", line("def build"), "factory")
    locator = Locator(user.build(), Path(user.__file__ or "").parent, factory)
    assert locator.layer("0") == factory


def test_code_elsewhere_is_not_the_users(user: ModuleType, tmp_path: Path) -> None:
    assert Locator(user.Model(), tmp_path).layer("stem.0") is None
