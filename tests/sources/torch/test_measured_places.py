"""Where values are caught: what a row shows is what is measured, however the forward pass is written."""

from __future__ import annotations

import pytest
import torch
from measured import layers, measured
from torch import nn
from torch.nn import functional

from initcheck import ModelLoadError
from initcheck.sources.torch.inputs import InputShape


class Scale(nn.Module):
    """Two chains of linear maps with a function between them."""

    def __init__(self, act: nn.Module | None = None) -> None:
        super().__init__()
        self.first = nn.Linear(64, 64)
        self.act = act
        self.second = nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return self.second(self.act(x) if self.act else functional.relu(x))


def test_an_activation_in_place_is_measured_like_any_other() -> None:
    plain = measured(lambda: Scale(nn.ReLU()))
    assert layers(plain)["first"].gradient.measured is not None
    assert measured(lambda: Scale(nn.ReLU(inplace=True))).layers == plain.layers


def test_a_function_between_modules_is_seen_where_the_next_one_is_called() -> None:
    plain, functions = measured(lambda: Scale(nn.ReLU())), measured(Scale)
    assert list(layers(functions)) == ["first", "relu", "second"]
    for seen, expected in zip(functions.layers, plain.layers, strict=True):
        assert (seen.length, seen.signal, seen.gradient) == (expected.length, expected.signal, expected.gradient)


class Custom(torch.autograd.Function):
    """ReLU without a forward-mode derivative."""

    @staticmethod
    def forward(ctx: object, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx: object, gradient: torch.Tensor) -> torch.Tensor:
        (x,) = ctx.saved_tensors
        return gradient * (x > 0)


class CustomReLU(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return Custom.apply(x)


def test_without_a_forward_derivative_two_passes_are_compared() -> None:
    plain, custom = measured(lambda: Scale(nn.ReLU())), measured(lambda: Scale(CustomReLU()))
    assert not any("double precision" in note for note in plain.notes)
    assert any("difference of two passes in double precision" in note for note in custom.notes)
    for seen, expected in zip(custom.layers, plain.layers, strict=True):
        assert seen.length == expected.length
        assert seen.gradient == expected.gradient
        assert seen.signal.measured == pytest.approx(expected.signal.measured, abs=1e-4)


def test_fused_kernels_are_switched_off_where_they_have_no_forward_derivative() -> None:
    class Both(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(32, 32, batch_first=True)
            self.attention = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.attention(self.lstm(x)[0])

    found = measured(lambda: (Both(), torch.randn(4, 6, 32)), repeats=2)
    assert not any("double precision" in note for note in found.notes)
    rows = layers(found)
    assert rows["lstm"].signal.measured == pytest.approx(rows["lstm"].signal.predicted, abs=0.3)
    # Attention reads the weights of its output projection without calling it, and its own never leave it.
    assert rows["attention.self_attn.out_proj"].state == "ok"
    assert rows["attention.self_attn"].state == "unknown"
    assert any("no module returns it: attention.self_attn" in note for note in found.notes)
    assert rows["attention.norm2"].length.measured == pytest.approx(0.0, abs=0.01)


def test_the_logits_of_a_dictionary_are_the_main_output() -> None:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.aux, self.head = nn.Linear(32, 32), nn.Linear(32, 8), nn.Linear(32, 8)

        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            x = self.body(x).tanh()
            return {"aux": self.aux(x), "logits": self.head(x)}

    rows = layers(measured(Heads))
    assert rows["head"].gradient.measured == pytest.approx(0.0, abs=1e-6)
    assert (rows["aux"].gradient.measured, rows["aux"].gradient.zeros) == (None, 64)
    # Two layers read it, so that what comes back from one of them is not its gradient.
    assert rows["tanh"].length.measured is not None
    assert (rows["tanh"].gradient.measured, rows["tanh"].gradient.zeros) == (None, 0)


def test_a_module_called_twice_shows_its_first_call() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.again, self.head = nn.Linear(64, 64, bias=False), nn.Linear(64, 8)
            nn.init.normal_(self.again.weight, std=1.0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(functional.relu(self.again(functional.relu(self.again(x)))))

    rows = layers(measured(Twice, repeats=4, shapes={"x": InputShape((16, 64))}))
    assert rows["again"].length.measured == pytest.approx(rows["again"].length.predicted, abs=0.05)
    # The second ReLU is what the head is called with, the first what the layer's second call is.
    for name in ("relu", "relu_1"):
        assert rows[name].length.measured == pytest.approx(rows[name].length.predicted, abs=0.15)


def test_what_is_cut_off_has_no_gradient() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(32, 32), nn.Linear(32, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                x = self.body(x)
            return self.head(x)

    rows = layers(measured(Frozen))
    assert (rows["body"].gradient.measured, rows["body"].gradient.zeros) == (None, 64)
    assert rows["head"].gradient.measured is not None


def test_what_cannot_be_differentiated_is_said_and_the_rest_measured() -> None:
    class Picks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(32, 32)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x).argmax(1)

    found = measured(Picks)
    assert "gradients could not be measured: forward returns no real-valued tensor" in found.notes
    assert found.layers[0].length.measured is not None
    assert found.layers[0].signal.measured is not None
    assert found.layers[0].gradient.measured is None


def test_without_anything_to_perturb_the_note_says_so() -> None:
    class Table(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.head = nn.Parameter(torch.randn(50, 16)), nn.Linear(16, 4)

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            return self.head(functional.embedding(ids, self.table))

    found = measured(Table, shapes={"ids": InputShape((2, 4), "int64")})
    (note,) = [note for note in found.notes if "perturbation" in note]
    assert note.endswith("forward has no real-valued input and calls no embedding of its ids")
    assert layers(found)["head"].length.measured is not None


def test_the_users_batch_is_taken_as_it_is() -> None:
    found = measured(lambda: (nn.Linear(32, 8), 10.0 * torch.ones(4, 32).cumsum(1)))
    assert (found.samples, found.inputs) == (4, "float32[4, 32] (returned by the factory)")
    assert any("the batch has mean square 3.58e+04" in note for note in found.notes)
    assert found.layers[0].length.measured > 3.0
    # A tensor of one number only says a shape.
    found = measured(lambda: (nn.Linear(32, 8), {"input": torch.zeros(4, 32)}))
    assert any("one number throughout, replaced by standard normal" in note for note in found.notes)
    assert found.layers[0].length.measured == pytest.approx(found.layers[0].length.predicted, abs=0.4)


def test_a_batch_that_the_user_does_not_state_has_the_samples_that_the_analysis_assumes() -> None:
    assert measured(lambda: nn.Sequential(nn.Linear(32, 8))).samples == 32
    declared = nn.Sequential(nn.Linear(32, 8))
    declared.example_input = torch.zeros(3, 32)
    assert measured(lambda: declared).inputs == "float32[32, 32] (example_input, batch of 32; values drawn)"
    # Here the first axis may be time: it stays as it was traced.
    assert measured(lambda: nn.Sequential(nn.RNN(32, 8))).samples == 2
    assert measured(lambda: nn.Sequential(nn.Linear(32, 8)), shapes={"input": InputShape((5, 32))}).samples == 5


def test_ids_of_the_user_are_kept_and_others_are_uniform() -> None:
    def words() -> nn.Module:
        return nn.Sequential(nn.Embedding(50, 16), nn.Flatten(), nn.Linear(64, 4))

    same = torch.zeros(2, 4, dtype=torch.int64)
    kept, drawn = measured(lambda: (words(), same)), measured(words, shapes={"input": InputShape((2, 4), "int64")})
    assert kept.inputs == "int64[2, 4] (returned by the factory)"
    # Two samples of the same ids differ in nothing.
    assert kept.layers[0].length != drawn.layers[0].length


def test_weights_that_no_seed_changes_are_measured_once() -> None:
    one = nn.Sequential(nn.Linear(32, 8))
    assert "the target is one module, not a factory: its weights were measured once" in measured(lambda: one).notes

    def stubborn() -> nn.Module:
        torch.manual_seed(3)
        return nn.Linear(32, 8)

    found = measured(stubborn, repeats=5)
    assert found.initialisations == 1
    assert found.layers[0].length.standard_error is None
    assert any("a second build has the same weights" in note for note in found.notes)
    assert any("no disagreement is marked" in note for note in found.notes)


def test_each_build_is_freed_before_the_next() -> None:
    class Counted(nn.Linear):
        alive = 0
        most = 0

        def __init__(self) -> None:
            super().__init__(32, 8)
            self.cycle = [self]
            Counted.alive += 1
            Counted.most = max(Counted.most, Counted.alive)

        def __del__(self) -> None:
            Counted.alive -= 1

    measured(Counted, repeats=4)
    # One belongs to the analysis.
    assert Counted.most <= 2


def test_a_build_that_fails_later_names_its_seed_and_its_line() -> None:
    calls = []

    def sometimes() -> nn.Module:
        calls.append(1)
        if len(calls) == 4:
            raise ValueError("out of luck")
        return nn.Linear(32, 8)

    with pytest.raises(ModelLoadError, match=r"the factory raised ValueError: out of luck \(.*:\d+\) at seed 2"):
        measured(sometimes, repeats=4)


def test_what_is_not_there_or_too_large_is_one_line() -> None:
    with pytest.raises(ModelLoadError, match="there is no device cuda:7 here; there is cpu"):
        measured(lambda: nn.Linear(32, 8), device="cuda:7")
    with pytest.raises(ModelLoadError, match=r"its weights take 0\.00 GB, more than may be built for real"):
        measured(lambda: nn.Linear(32, 8), max_memory=100)
    with pytest.raises(ModelLoadError, match="no weighted layer"):
        measured(nn.ReLU)
