"""What gives a plausible wrong answer on the meta device unless it is taken care of."""

from __future__ import annotations

import math
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from empirical import compare, draws
from torch import nn
from torch.nn.init import orthogonal_ as bound_at_import
from torch.nn.utils import parametrizations

from initcheck.distribution import Distribution, Family
from initcheck.sources.torch.build import Built, build

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).resolve().parent
LARGE = (120, 90)


def recorded(factory: Callable[[], object], memory: int = 0) -> Built:
    return build(factory, max_memory=memory, root=ROOT)


def written_by(write: Callable[[nn.Parameter], object], shape: tuple[int, ...] = LARGE) -> Callable[[], nn.Module]:
    """Factory of a module whose only parameter is what a function makes of a Linear's or Conv's default."""

    def factory() -> nn.Module:
        module = (
            nn.Linear(shape[1], shape[0], bias=False) if len(shape) == 2 else nn.Conv2d(shape[1], shape[0], shape[2:])
        )
        with torch.no_grad():
            write(module.weight)
        return module

    return factory


def law_of(factory: Callable[[], nn.Module]) -> Distribution | None:
    """Law of the weight, found without values; right against real builds where it is known."""
    built = recorded(factory)
    assert built.on_meta
    tensor = built.parameters["weight"]
    result = compare(tensor, draws(factory)["weight"])
    assert result.right, result.text
    return tensor.distribution


@pytest.mark.parametrize(
    ("write", "shape", "family", "scheme"),
    [
        (lambda w: nn.init.trunc_normal_(w, std=1.0), LARGE, Family.TRUNCATED, "truncated_normal(std=1)"),
        (lambda w: nn.init.trunc_normal_(w, std=0.02), LARGE, Family.NORMAL, "normal(0, 0.02)"),
        (nn.init.orthogonal_, LARGE, Family.ORTHOGONAL, "orthogonal"),
        (bound_at_import, LARGE, Family.ORTHOGONAL, "orthogonal"),
        (lambda w: nn.init.orthogonal_(w, math.sqrt(2)), (32, 16, 3, 3), Family.ORTHOGONAL, "orthogonal(gain=√2)"),
        (nn.init.dirac_, (32, 32, 3, 3), Family.IDENTITY, "dirac"),
        (nn.init.eye_, LARGE, Family.IDENTITY, "identity"),
        (lambda w: nn.init.sparse_(w, 0.3), LARGE, Family.UNKNOWN, ""),
        (lambda w: nn.init.trunc_normal_(tensor=w, std=0.5, b=0.4), LARGE, Family.TRUNCATED, ""),
    ],
)
def test_initialisers_that_do_nothing_on_the_meta_device(
    write: Callable[[nn.Parameter], object], shape: tuple[int, ...], family: Family, scheme: str
) -> None:
    law = law_of(written_by(write, shape))
    assert law is not None
    assert (law.family, law.scheme, law.exact) == (family, scheme, True)


def test_initialisers_check_their_arguments_as_ever() -> None:
    with pytest.raises(ValueError, match="2 dimensions"):
        recorded(written_by(lambda w: nn.init.sparse_(w, 0.1), (4, 4, 3, 3)), memory=1 << 30)


def test_overlapping_partial_writes() -> None:
    def write(weight: nn.Parameter) -> None:
        weight.normal_(0, 0.02)
        weight[:40] = 0
        weight[30:80].mul_(2)
        weight[:, 80:].uniform_(-0.1, 0.1)

    law = law_of(written_by(write))
    assert law is not None
    assert law.exact
    assert law.zeros == 40 * 80


def test_part_of_an_identity_that_is_lost_leaves_no_law() -> None:
    assert law_of(written_by(lambda w: (nn.init.eye_(w), w[:1].zero_()))) is None


@pytest.mark.parametrize(
    "write",
    [
        lambda w: w.add_(w),
        lambda w: w.mul_(w),
        lambda w: w.sub_(w.clone()),
        lambda w: w.copy_(w[:1].clone()),
        lambda w: w.copy_(torch.randn(w.shape[0], 1).expand_as(w)),
        lambda w: w.add_(torch.randn(w.shape[1])),
        lambda w: w.copy_(torch.randn(1).expand_as(w)),
    ],
)
def test_dependent_elements_are_not_taken_for_independent(write: Callable[[nn.Parameter], object]) -> None:
    law = law_of(written_by(write))
    assert law is None or not law.exact


@pytest.mark.parametrize(
    ("write", "scheme"),
    [
        (lambda w: w.mul_(0.5), "uniform(±0.0527)"),
        (lambda w: w.normal_().div_(math.sqrt(w.shape[1])), "lecun_normal"),
        (lambda w: w.copy_((torch.rand_like(w) * 2 - 1) * 0.05), "uniform(±0.05)"),
        (lambda w: w.copy_(torch.randn(w.shape) * 0.6 + torch.randn(w.shape) * 0.8), "normal(0, 1)"),
        (lambda w: [nn.init.normal_(part, std=0.02) for part in w.chunk(3)], "normal(0, 0.02)"),
        (lambda w: w.t().normal_(0, 0.02), "normal(0, 0.02)"),
        (lambda w: setattr(w, "data", torch.normal(0.0, 0.02, LARGE)), "normal(0, 0.02)"),
        (lambda w: setattr(w, "data", torch.Tensor(*LARGE).normal_(0, 0.02)), "normal(0, 0.02)"),
        (lambda w: setattr(w, "data", torch.full(LARGE, 2.0).log2()), "ones"),
        (lambda w: setattr(w, "data", w.data.half().float()), "kaiming_uniform(a=√5)"),
    ],
)
def test_arithmetic_after_the_draw(write: Callable[[nn.Parameter], object], scheme: str) -> None:
    law = law_of(written_by(write))
    assert law is not None
    assert (law.scheme, law.exact) == (scheme, True)


def test_accelerators_are_not_needed() -> None:
    def factory() -> nn.Module:
        module = nn.Sequential(nn.Linear(90, 120, device="cuda"), nn.Linear(90, 120)).to("cuda:0").cuda()
        module[0].weight.data = torch.empty(120, 90, device=torch.device("cuda")).fill_(0.1).cpu()
        module[1].weight.data = module[1].weight.data.to(device="mps").normal_(0, 0.02)
        return module

    built = recorded(factory)
    assert built.on_meta
    assert built.parameters["0.weight"].distribution.scheme == "constant(0.1)"
    assert built.parameters["1.weight"].distribution.scheme == "normal(0, 0.02)"


def test_default_devices_are_not_needed() -> None:
    def within() -> nn.Module:
        with torch.device("cuda"):
            return nn.Linear(90, 120)

    def globally() -> nn.Module:
        torch.set_default_device("cuda")
        module = nn.Linear(90, 120)
        module.bias.data = torch.tensor([0.5]).expand(120).clone()
        return module

    for factory in (within, globally):
        built = recorded(factory)
        assert built.on_meta
        assert built.parameters["weight"].distribution.scheme == "kaiming_uniform(a=√5)"
    assert torch.zeros(1).device.type == "cpu"


@pytest.mark.parametrize(
    "write",
    [
        lambda w: w.copy_(torch.randn_like(w).clamp(-1, 1)),
        lambda w: w.copy_(torch.exp(torch.rand_like(w) * 3 - 5)),
        lambda w: w.div_(w.std()),
        lambda w: w.sub_(w.mean()),
        lambda w: w.copy_(torch.where(w > 0, w, 0.1 * w)),
        lambda w: w.bernoulli_(0.3),
    ],
)
def test_what_no_law_describes_is_followed_by_values(write: Callable[[nn.Parameter], object]) -> None:
    law = law_of(written_by(write))
    assert law is not None
    assert not law.exact


def test_literals_keep_their_data() -> None:
    def factory() -> nn.Module:
        module = nn.Module()
        module.scale = nn.Parameter(torch.tensor([1.0, 2.0, 6.0]))
        module.legacy = nn.Parameter(torch.Tensor([0.5, 0.5]))
        module.register_buffer("mean", torch.as_tensor([0.4, 0.5]))
        module.register_buffer("steps", torch.arange(4) * torch.tensor(2))
        module.moved = nn.Parameter(torch.tensor([1.0, 4.0], device=module.scale.device))
        module.like = nn.Parameter(module.scale.new_tensor([1.0, 3.0]))
        module.copied = nn.Parameter(torch.as_tensor(module.like.detach(), device="cpu") * 2)
        module.picked = nn.Parameter(torch.zeros(5))
        module.picked.data[torch.tensor([1, 3])] = torch.tensor([2.0, 3.0])
        return module

    found = recorded(factory).parameters
    assert found["scale"].values.tolist() == [1, 2, 6]
    assert found["scale"].distribution.mean == pytest.approx(3)
    assert found["legacy"].values.tolist() == [0.5, 0.5]
    assert found["mean"].values.tolist() == pytest.approx([0.4, 0.5])
    assert found["mean"].is_buffer
    assert found["moved"].values.tolist() == [1, 4]
    assert found["like"].values.tolist() == [1, 3]
    assert found["copied"].values.tolist() == [2, 6]
    assert found["steps"].values.tolist() == [0, 2, 4, 6]
    assert found["steps"].distribution is None
    assert found["picked"].values.tolist() == [0, 2, 0, 3, 0]


def test_values_may_be_asked_for_where_they_are_known() -> None:
    def factory() -> nn.Module:
        rates = [rate.item() for rate in torch.linspace(0, 0.2, 3)]
        sizes = torch.tensor([4, 8]).tolist()
        module = nn.Linear(sizes[0], sizes[1])
        nn.init.constant_(module.bias, rates[2] if torch.ones(()) > 0 else 7.0)
        return module

    built = recorded(factory)
    assert built.on_meta
    assert built.parameters["bias"].distribution.mean == pytest.approx(0.2)


def test_data_from_numpy() -> None:
    array = np.random.default_rng(0).normal(0.3, 0.1, LARGE).astype(np.float32)

    def factory() -> nn.Module:
        module = nn.Sequential(nn.Linear(90, 120), nn.Linear(90, 120), nn.Linear(90, 120))
        module[0].weight.data = torch.from_numpy(array)
        module[1].weight.data.copy_(torch.from_numpy(array) * 2)
        with torch.no_grad():
            module[2].weight[:] = torch.as_tensor(array)
        return module

    built = recorded(factory)
    assert built.on_meta
    for index, factor in enumerate((1, 2, 1)):
        law = built.parameters[f"{index}.weight"].distribution
        assert not law.exact
        assert law.mean == pytest.approx(factor * float(array.mean()), rel=1e-4)
        assert law.std == pytest.approx(factor * float(array.std()), rel=1e-4)


def test_numpy_of_a_small_tensor_may_be_written() -> None:
    def factory() -> nn.Module:
        module = nn.Linear(8, 4)
        module.bias.detach().numpy()[:] = 0.25
        return module

    built = recorded(factory)
    assert built.on_meta
    assert built.parameters["bias"].distribution.mean == 0.25


def test_numpy_of_a_large_tensor_is_built_for_real() -> None:
    built = recorded(written_by(lambda w: w.detach().numpy()), memory=1 << 30)
    assert not built.on_meta
    assert "built for real" in built.notes[0]
    law = built.parameters["weight"].distribution
    assert law.scheme == "kaiming_uniform(a=√5)"
    assert not law.exact, "numpy may have written it"


def test_a_branch_on_drawn_values_is_built_for_real() -> None:
    built = recorded(written_by(lambda w: w.zero_() if w.abs().max() > 1 else None), memory=1 << 30)
    assert not built.on_meta


@pytest.mark.parametrize("width", [12, 90])
def test_orthogonal_parametrisation_is_not_taken_for_the_default(width: int) -> None:
    def factory() -> nn.Module:
        return parametrizations.orthogonal(nn.Linear(width, width))

    built = recorded(factory, memory=1 << 30)
    result = compare(
        built.parameters["parametrizations.weight.original"], draws(factory)["parametrizations.weight.original"]
    )
    assert result.right, result.text
    assert built.parameters["bias"].distribution.scheme == "uniform(±1/√fan_in)"


def test_weight_and_spectral_norm() -> None:
    def factory() -> nn.Module:
        return nn.Sequential(
            parametrizations.weight_norm(nn.Linear(30, 20)),
            parametrizations.spectral_norm(nn.Linear(20, 30)),
            nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 8, 3)),
        )

    built = recorded(factory)
    assert built.on_meta
    for name, values in draws(factory).items():
        result = compare(built.parameters[name], values)
        assert result.known, name
        assert result.right, result.text


def test_transformers_initialises_although_tensors_are_on_meta() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=3, n_embd=24, n_head=2, vocab_size=64, n_positions=16, bos_token_id=0)
    built = recorded(lambda: transformers.GPT2LMHeadModel(config))
    assert built.on_meta
    assert built.parameters["transformer.wte.weight"].distribution.scheme == "normal(0, 0.02)"
    residual = built.parameters["transformer.h.1.attn.c_proj.weight"].distribution
    assert residual.std == pytest.approx(0.02 / math.sqrt(2 * 3))
    assert built.parameters["lm_head.weight"].tied_to == "transformer.wte.weight"


@pytest.mark.slow
def test_transformers_imported_by_the_factory(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    script = tmp_path / "lazily.py"
    script.write_text(
        textwrap.dedent(
            """
            import pathlib, sys
            from initcheck.sources.torch.build import build

            def factory():
                from transformers import BertConfig, BertModel
                return BertModel(BertConfig(hidden_size=24, num_hidden_layers=1, num_attention_heads=2,
                                            intermediate_size=32, vocab_size=64))

            assert "transformers" not in sys.modules
            built = build(factory, max_memory=0, root=pathlib.Path.cwd())
            print(built.on_meta, built.parameters["encoder.layer.0.output.dense.weight"].distribution.scheme)
            """
        )
    )
    paths = [entry for entry in sys.path if entry]
    result = subprocess.run(
        [sys.executable, "-W", "ignore", str(script)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": ":".join(paths), "PATH": ""},
    )
    assert result.stdout.split("\n")[-2] == "True normal(0, 0.02)"


def test_tensors_of_modules_that_the_factory_imports_stay_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lazy_table.py").write_text("import torch\nTABLE = torch.tensor([1.0, 2.0])\nZEROS = torch.zeros(3)\n")
    monkeypatch.syspath_prepend(tmp_path)

    def factory() -> nn.Module:
        from lazy_table import TABLE

        module = nn.Linear(2, 2)
        module.bias.data.copy_(TABLE)
        return module

    built = recorded(factory)
    assert built.on_meta
    assert built.parameters["bias"].distribution.mean == 1.5
    module = sys.modules["lazy_table"]
    assert (module.TABLE.device.type, module.ZEROS.device.type) == ("cpu", "cpu")


def test_the_law_of_a_padded_embedding() -> None:
    table = recorded(lambda: nn.Embedding(100, 16, padding_idx=3)).parameters["weight"].distribution
    assert (table.scheme, table.zeros, table.exact) == ("normal(0, 1)", 16, True)
    assert table.variance == pytest.approx(0.99)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_types(dtype: torch.dtype) -> None:
    built = recorded(lambda: nn.Linear(90, 120, dtype=dtype).to(dtype))
    tensor = built.parameters["weight"]
    assert tensor.dtype == str(dtype).removeprefix("torch.")
    assert tensor.distribution.scheme == "kaiming_uniform(a=√5)"


def test_complex_parameters_have_no_law() -> None:
    def factory() -> nn.Module:
        module = nn.Linear(4, 4)
        module.phase = nn.Parameter(torch.randn(80, 80, dtype=torch.cfloat))
        return module

    built = recorded(factory, memory=1 << 20)
    assert built.parameters["phase"].distribution is None
    assert built.parameters["phase"].written
    assert not built.notes


@pytest.mark.parametrize("factor", [math.inf, -math.inf, math.nan, 1e300])
def test_what_leaves_the_numbers(factor: float) -> None:
    def factory() -> nn.Module:
        return nn.ParameterDict(
            {
                "scaled": nn.Parameter(torch.randn(LARGE) * factor),
                "filled": nn.Parameter(torch.full(LARGE, factor)),
                "mask": nn.Parameter((torch.ones(LARGE) - 0.5) * torch.finfo(torch.float32).min),
            }
        )

    built = recorded(factory)
    assert built.on_meta
    for name in ("scaled", "filled"):
        law = built.parameters[name].distribution
        assert law.nonfinite == law.size, name
    assert built.parameters["mask"].distribution.mean == torch.finfo(torch.float32).min / 2


def test_numbers_with_large_powers() -> None:
    law = recorded(written_by(lambda w: w.normal_(0, 1e35).mul_(1e-35))).parameters["weight"].distribution
    assert law.std == pytest.approx(1, rel=0.03)
