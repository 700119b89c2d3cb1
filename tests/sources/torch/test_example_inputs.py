"""Example inputs: what is declared goes before what is guessed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from initcheck.errors import UsageError
from initcheck.sources.torch.inputs import InputShape, find_examples
from initcheck.sources.torch.trace import fits


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor, scale: torch.Tensor | None = None, **rest: Any) -> torch.Tensor:
        return self.fc(x)


class Strict(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(9, 4)
        self.fc = nn.Linear(4, 4)

    def forward(self, input_ids: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return self.fc(self.tokens(input_ids)) * weights


def first(module: nn.Module, given: Any = None, **shapes: InputShape) -> Any:
    return next(iter(find_examples(module, given, shapes)))


def test_the_command_line_goes_first() -> None:
    module = Two()
    module.example_input = torch.randn(3, 6)
    example = first(module, torch.randn(4, 6), x=InputShape((5, 6)))
    assert example.kwargs["x"].shape == (5, 6)
    assert example.origin == "--input-shape"


def test_the_factory_goes_before_the_module() -> None:
    module = Two()
    module.example_input = torch.randn(3, 6)
    assert first(module, torch.randn(4, 6)).args[0].shape == (4, 6)
    assert first(module).args[0].shape == (3, 6)
    assert first(module).origin == "example_input"


@pytest.mark.parametrize(
    "given", [torch.randn(4, 6), (torch.randn(4, 6),), {"x": torch.randn(4, 6)}, ((torch.randn(4, 6)), {"scale": None})]
)
def test_forms_of_a_declared_example(given: Any) -> None:
    example = first(Two(), given)
    assert [*example.args, *example.kwargs.values()][0].shape == (4, 6)
    assert example.declared


def test_lightning_declares_its_own() -> None:
    module = Two()
    module.example_input_array = torch.randn(7, 6)
    assert first(module).args[0].shape == (7, 6)


def test_a_batch_of_one_becomes_two() -> None:
    examples = list(find_examples(Two(), torch.randn(1, 6)))
    assert [example.args[0].shape[0] for example in examples] == [2, 1]


def test_a_declared_example_without_values_is_given_some() -> None:
    meta = {"device": "meta"}
    module = Two()
    module.example_input_array = (
        torch.randn(7, 6, dtype=torch.bfloat16, **meta),
        torch.zeros(7, dtype=torch.int64, **meta),
    )
    x, scale = first(module).args
    assert (x.device.type, x.dtype, x.shape) == ("cpu", torch.bfloat16, (7, 6))
    assert x.float().std() > 0.5
    assert scale.tolist() == [1] * 7


def test_a_dict_among_the_arguments_is_described() -> None:
    example = first(Two(), ({"x": torch.randn(4, 6), "y": [torch.ones(2), None]},))
    assert example.describe() == "{x: float32[4, 6], y: (float32[2], )} (returned by the factory)"


def test_element_types() -> None:
    example = first(Strict(), input_ids=InputShape((2, 3)), weights=InputShape((2, 3, 4), "float64"))
    assert (example.kwargs["input_ids"].dtype, example.kwargs["weights"].dtype) == (torch.int64, torch.float64)
    with pytest.raises(UsageError, match="no element type 'float33'"):
        first(Strict(), input_ids=InputShape((2, 3)), weights=InputShape((2,), "float33"))


def test_an_input_that_forward_has_not() -> None:
    with pytest.raises(UsageError, match=r"forward has no argument .input_id..*did you mean input_ids"):
        first(Strict(), input_id=InputShape((2, 3)))
    with pytest.raises(UsageError, match=r"forward has no argument 'x'; its arguments: input_ids, weights"):
        first(Strict(), x=InputShape((2, 3)))


def test_inputs_that_were_not_named_are_guessed() -> None:
    example = first(Strict(), weights=InputShape((2, 16, 1)))
    assert example.kwargs["input_ids"].dtype == torch.int64
    assert fits(Strict(), example) is None


GUESSED = {
    "linear": lambda: nn.Linear(7, 3),
    "tokens": lambda: nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2)),
    "image": lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1)),
    "size of the head": lambda: nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 28 * 28, 2)),
    "large image": lambda: nn.Sequential(nn.Conv2d(3, 4, 32, stride=32), nn.Flatten(), nn.Linear(4 * 49, 2)),
    "signal": lambda: nn.Conv1d(2, 3, 5),
    "volume": lambda: nn.Conv3d(2, 3, 5),
    "recurrent": lambda: nn.GRU(5, 4, batch_first=True),
    "half": lambda: nn.Linear(7, 3).bfloat16(),
    "bilinear": lambda: nn.Bilinear(4, 5, 2),
    "norm first": lambda: nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 3)),
    "encoder": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
}


@pytest.mark.parametrize("name", GUESSED)
def test_guesses(name: str) -> None:
    module = GUESSED[name]()
    example = next(example for example in find_examples(module) if fits(module, example) is None)
    assert not example.declared
    assert example.args[0].shape[0] == 2
    assert "guessed" in example.describe()


def test_declared_image_size() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.Flatten(), nn.Linear(4 * 25, 2))
    module.image_size = 40
    assert first(module).args[0].shape == (2, 3, 40, 40)
