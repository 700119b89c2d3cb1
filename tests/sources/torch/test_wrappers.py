"""What stands around a model, and what is none."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from initcheck.errors import ModelLoadError
from initcheck.sources.torch.wrappers import unwrap


def test_wrappers_are_taken_off() -> None:
    model = nn.Linear(2, 2)
    assert unwrap(model) is model
    assert unwrap(nn.DataParallel(model)) is model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        compiled = torch.compile(model)
    assert unwrap(compiled) is model


def test_what_is_no_module() -> None:
    with pytest.raises(ModelLoadError, match="returned an int, not a"):
        unwrap(3)


def test_scripted_and_quantised_modules_are_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Linear(2, 2))
        quantised = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(2, 2)), {nn.Linear})
    with pytest.raises(ModelLoadError, match="ScriptModule"):
        unwrap(scripted)
    with pytest.raises(ModelLoadError, match="0 is quantised"):
        unwrap(quantised)
