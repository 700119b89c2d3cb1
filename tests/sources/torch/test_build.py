"""Factories, built on the meta device or for real; nothing stays changed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from initcheck.errors import ModelLoadError
from initcheck.sources.torch.build import build

ROOT = Path(__file__).resolve().parent
PLENTY = 1 << 30


def test_a_module_is_built_without_memory() -> None:
    built = build(lambda: nn.Linear(1 << 20, 1 << 20), max_memory=0, root=ROOT)
    assert built.on_meta
    assert built.notes == ()
    assert built.example is None
    assert built.parameters["weight"].distribution.std == pytest.approx(1 / 1024 / 3**0.5)


@pytest.mark.parametrize(
    ("given", "example"),
    [((1, 2), (1, 2)), ([1], (1,)), ({"x": 1}, {"x": 1}), (3, (3,))],
)
def test_example_inputs_of_the_factory(given: object, example: object) -> None:
    built = build(lambda: (nn.Linear(2, 2), given), max_memory=0, root=ROOT)
    assert built.example == example


def test_example_inputs_made_on_the_meta_device_keep_their_values() -> None:
    def factory() -> object:
        return nn.Linear(2, 2), {"lengths": torch.tensor([8, 5]), "mask": torch.ones(300, 300), "x": torch.zeros(3, 2)}

    built = build(factory, max_memory=0, root=ROOT)
    assert built.on_meta
    assert isinstance(built.example, dict)
    assert built.example["lengths"].tolist() == [8, 5]
    assert built.example["mask"].sum() == 300 * 300
    assert built.example["x"].tolist() == [[0.0, 0.0]] * 3


@pytest.mark.parametrize("result", [None, 3, (1, 2), nn.Linear])
def test_what_is_no_module_is_refused(result: object) -> None:
    with pytest.raises(ModelLoadError, match=r"not a torch\.nn\.Module"):
        build(lambda: result, max_memory=0, root=ROOT)


def drawn_by_norm() -> nn.Module:
    module = nn.Sequential(nn.Linear(100, 90), nn.Linear(90, 80))
    with torch.no_grad():
        module[0].weight.copy_(nn.functional.normalize(module[0].weight, dim=1))
    return module


def test_unknown_parameters_are_estimated_from_a_real_build() -> None:
    built = build(drawn_by_norm, max_memory=PLENTY, root=ROOT)
    assert built.on_meta
    law = built.parameters["0.weight"].distribution
    assert not law.exact
    assert law.std == pytest.approx(0.1, rel=1e-3)
    assert built.parameters["1.weight"].distribution.exact
    assert built.notes == ("initial values of parameter 0.weight estimated from a real build",)


def test_unknown_parameters_of_a_large_model_stay_unknown() -> None:
    built = build(drawn_by_norm, max_memory=100 * 90 * 4, root=ROOT)
    assert built.parameters["0.weight"].distribution is None
    assert built.parameters["0.weight"].written
    assert "too large" in built.notes[0]


def test_a_factory_that_needs_values_is_built_for_real() -> None:
    def factory() -> nn.Module:
        module = nn.Linear(100, 90)
        if module.weight.std() < 1:
            nn.init.normal_(module.weight, std=float(module.weight.abs().max()))
        return module

    built = build(factory, max_memory=PLENTY, root=ROOT)
    assert not built.on_meta
    assert "built for real, since it cannot be built on the meta device" in built.notes[0]
    assert built.parameters["weight"].distribution.std == pytest.approx(0.1, rel=1e-3)
    assert [write.initializer.partition("(")[0] for write in built.parameters["weight"].history][-1] == "normal_"


def test_a_real_build_that_takes_too_much_memory_is_stopped() -> None:
    def factory() -> nn.Module:
        layer = nn.Linear(100, 90)
        if layer.weight.abs().max() > 0:
            return nn.Sequential(*(nn.Linear(1000, 1000) for _ in range(1000)))
        return layer

    with pytest.raises(ModelLoadError, match=r"more than 0\.0 GB, .* value of a tensor on the meta device") as raised:
        build(factory, max_memory=10_000_000, root=ROOT)
    assert raised.value.kind == "memory"


def test_a_factory_that_the_recorder_disturbs_is_built_unobserved() -> None:
    def factory() -> nn.Module:
        if _get_current_dispatch_mode_stack():
            raise NotImplementedError(f"{len(_get_current_dispatch_mode_stack())} {torch.zeros(1).device}")
        return nn.Linear(100, 90)

    built = build(factory, max_memory=PLENTY, root=ROOT)
    assert not built.on_meta
    law = built.parameters["weight"].distribution
    assert (law.scheme, law.exact) == ("kaiming_uniform(a=√5)", False)


def test_the_factorys_own_error_goes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        build(lambda: nn.Linear(1 // 0, 2), max_memory=0, root=ROOT)
    with pytest.raises(SystemExit):
        build(lambda: (_ for _ in ()).throw(SystemExit(3)), max_memory=0, root=ROOT)


def test_lazy_modules_need_an_example() -> None:
    def factory() -> nn.Module:
        return nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(5))

    with pytest.raises(ModelLoadError, match="layer 0 is lazy"):
        build(factory, max_memory=0, root=ROOT)
    for built in (
        build(factory, max_memory=0, root=ROOT, example=(torch.zeros(2, 3, 8, 8),)),
        build(lambda: (factory(), torch.zeros(2, 3, 8, 8)), max_memory=0, root=ROOT),
    ):
        assert built.on_meta
        assert built.module.training
        assert built.parameters["3.weight"].shape == (5, 288)
        assert built.parameters["3.weight"].distribution.scheme == "kaiming_uniform(a=√5)"
        assert built.parameters["1.running_mean"].distribution.is_zero


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_wrapped_modules_are_unwrapped() -> None:
    built = build(lambda: nn.DataParallel(nn.Linear(3, 4)), max_memory=0, root=ROOT)
    assert list(built.parameters) == ["weight", "bias"]
    built = build(lambda: torch.compile(nn.Linear(3, 4)), max_memory=0, root=ROOT)
    assert list(built.parameters) == ["weight", "bias"]


def test_a_module_that_stood_before_is_estimated() -> None:
    torch.manual_seed(0)
    module = nn.Linear(200, 100)
    built = build(lambda: module, max_memory=PLENTY, root=ROOT)
    assert not built.on_meta
    law = built.parameters["weight"].distribution
    assert not law.exact
    assert law.scheme == "kaiming_uniform(a=√5)"
    assert built.parameters["weight"].written


def fails() -> nn.Module:
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("cuda")
    nn.init.orthogonal_(nn.Linear(3, 3).weight)
    raise KeyError("lost")


def branches() -> nn.Module:
    module = nn.Linear(100, 100)
    return module if module.weight.abs().max() > 0 else nn.Linear(2, 2)


@pytest.mark.parametrize("factory", [drawn_by_norm, branches, fails])
def test_everything_is_put_back(factory: object) -> None:
    codes = {name: function.__code__ for name, function in vars(nn.init).items() if hasattr(function, "__code__")}
    before = dict(vars(nn.init))
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    states = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    try:
        build(factory, max_memory=PLENTY, root=ROOT)
    except KeyError:
        assert factory is fails
    assert vars(nn.init) == before
    assert {name: vars(nn.init)[name].__code__ for name in codes} == codes
    assert not any("__wrapped__" in vars(function) for name, function in before.items() if name in codes)
    assert _get_current_function_mode_stack() == []
    assert _get_current_dispatch_mode_stack() == []
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    assert torch.get_default_dtype() is torch.float32
    assert torch.empty(1).device.type == "cpu"
    assert torch.is_grad_enabled()


def test_random_numbers_of_the_factory_are_those_of_seed_0() -> None:
    def factory() -> nn.Module:
        return nn.Linear(random.randint(2, 1000), int(np.random.randint(2, 1000)))

    shapes = {build(factory, max_memory=0, root=ROOT).parameters["weight"].shape for _ in range(3)}
    assert len(shapes) == 1


def test_no_compiler_is_imported() -> None:
    script = (
        "import sys, pathlib, torch\n"
        "from initcheck.sources.torch.build import build\n"
        "def factory():\n"
        "    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.LSTM(8, 8))\n"
        "    torch.nn.init.kaiming_normal_(module[0].weight)\n"
        "    torch.nn.init.trunc_normal_(module[2].weight_hh_l0)\n"
        "    return module\n"
        "assert build(factory, max_memory=0, root=pathlib.Path.cwd()).on_meta\n"
        "assert not {'torch._dynamo', 'sympy'} & set(sys.modules)\n"
    )
    environment = {"PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry), "PATH": ""}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
