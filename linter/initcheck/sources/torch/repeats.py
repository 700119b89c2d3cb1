"""A factory called again and again: each build is run, measured and freed before the next."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import torch

from initcheck.errors import ModelLoadError
from initcheck.processors import threads
from initcheck.runs import Runs, Squares
from initcheck.sources.torch.batch import make_batch, samples_of, stream
from initcheck.sources.torch.blame import one_sentence
from initcheck.sources.torch.build import build_once, tensor_bytes
from initcheck.sources.torch.passes import Hooked, lengths_and_gradients
from initcheck.sources.torch.probes import Prober, embeddings_of_inputs
from initcheck.sources.torch.record_seeds import seeded
from initcheck.sources.torch.response import Response
from initcheck.sources.torch.target import MORE_MEMORY, blamed
from initcheck.sources.torch.trace import restored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from initcheck.measurement import Plan
    from initcheck.runs import Point
    from initcheck.sources.torch.batch import Batch
    from initcheck.sources.torch.target import Opened

__all__ = ["find_device", "run_repeats"]


def run_repeats(
    opened: Opened, points: Sequence[Point], plan: Plan, max_memory: int, step: Callable[[int, int], None]
) -> Runs:
    """Build and run a model once for every initialisation.

    Args:
        opened: The factory, and its model as traced.
        points: Values to measure.
        plan: How often and where.
        max_memory: Bytes that its weights may take.
        step: Hears of every initialisation that is through.

    Raises:
        ModelLoadError: If there is no such device, the model is too large, or the user's code raises.
    """
    device = find_device(plan.device)
    size = tensor_bytes(opened.loaded.built.module)
    if size > max_memory:
        message = f"its weights take {size / 1e9:.2f} GB, more than may be built for real ({max_memory / 1e9:.2f} GB)"
        raise ModelLoadError(message, MORE_MEMORY, kind="memory")
    torch.set_num_threads(threads())
    return _Repeats(opened, points, plan, device, step).run()


class _Repeats:
    """State of one run; ``run`` is its only method for others."""

    def __init__(
        self,
        opened: Opened,
        points: Sequence[Point],
        plan: Plan,
        device: torch.device,
        step: Callable[[int, int], None],
    ) -> None:
        self._opened = opened
        self._points = points
        self._plan = plan
        self._device = device
        self._step = step
        self._response = Response()
        self._batch: Batch | None = None
        self._no_gradient = ""

    def run(self) -> Runs:
        """Initialise, run, measure, as often as planned."""
        plan = self._plan
        squares: list[Squares] = []
        notes: list[str] = []
        previous: weakref.ref[torch.nn.Module] | None = None
        first: tuple[float, ...] = ()
        self._step(0, plan.repeats)
        for repeat in range(plan.repeats):
            seed = plan.seed + repeat
            module, given = self._build(seed)
            weights = _fingerprint(module)
            if previous is not None and previous() is module:
                notes.append("the target is one module, not a factory: its weights were measured once")
                break
            if repeat == 1 and weights == first:
                notes.append("a second build has the same weights, whatever the seed: they were measured once")
                break
            first = first or weights
            previous = weakref.ref(module)
            squares.append(self._measure(module.to(self._device), given, seed))
            del module
            # Parts that refer to each other outlive their last use until somebody looks for them, which takes a while.
            if previous() is not None:
                gc.collect()
            self._step(repeat + 1, plan.repeats)
        batch = self._batch
        assert batch is not None, "at least one initialisation is planned"
        return Runs(
            squares=tuple(squares),
            samples=batch.samples,
            inputs=batch.example.describe(),
            notes=(*batch.notes, *notes, *self._shortcomings()),
        )

    def _build(self, seed: int) -> tuple[torch.nn.Module, Any]:
        opened = self._opened
        with blamed(opened.factory, opened.root, when=f" at seed {seed}"):
            module, given = build_once(opened.factory, seed=seed, example=opened.loaded.built.example)
            return module.train(), given

    def _measure(self, module: torch.nn.Module, given: Any, seed: int) -> Squares:
        opened, loaded = self._opened, self._opened.loaded
        try:
            if self._batch is None:
                self._batch = make_batch(loaded, module, given, self._plan.seed, self._device)
            hooked = self._hooked(module, self._batch)
            with blamed(opened.factory, opened.root):
                return self._run(hooked, seed)
        except ModelLoadError:
            raise
        except Exception as error:
            shown = self._batch.example.describe() if self._batch else "the example"
            message = f"forward raised {one_sentence(error, opened.root)} with {shown}"
            raise ModelLoadError(message, "name the inputs with --input-shape", kind="forward") from error

    def _run(self, hooked: Hooked, seed: int) -> Squares:
        own = stream(seed, "passes")
        generator = torch.Generator().manual_seed(stream(seed, "cotangent"))
        with seeded(own):
            self._seed_device(own)
            with restored(hooked.module):
                lengths, gradients, reason = lengths_and_gradients(hooked, generator)
            self._no_gradient = reason or self._no_gradient
            with restored(hooked.module):
                gains = self._response.gains(hooked, stream(seed, "direction"))
        return Squares(tuple(lengths), tuple(gains), tuple(gradients))

    def _hooked(self, module: torch.nn.Module, batch: Batch) -> Hooked:
        graph = self._opened.loaded.graph
        modules = {name for name, _ in module.named_modules(remove_duplicate=False)}
        prober = Prober(graph, modules)
        traced = self._opened.loaded.example
        return Hooked(
            module,
            batch,
            self._device,
            self._points,
            [prober.probes(point.value) for point in self._points],
            samples_of(traced),
            embeddings_of_inputs(graph) & modules,
        )

    def _seed_device(self, seed: int) -> None:
        if self._device.type != "cpu":
            torch.manual_seed(seed)

    def _shortcomings(self) -> list[str]:
        notes = []
        if self._no_gradient:
            notes.append(f"gradients could not be measured: {self._no_gradient}")
        if self._response.reason:
            notes.append(f"the response to a perturbation could not be measured: {self._response.reason}")
        elif self._response.is_difference:
            notes.append("the response to a perturbation is a difference of two passes in double precision")
        return notes


def find_device(name: str) -> torch.device:
    """A device that is there.

    Raises:
        ModelLoadError: If it is not.
    """
    device = torch.device(name)
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) < there[device.type]:
        return device
    found = [kind if kind != "cuda" else f"cuda:{index}" for kind in there for index in range(there[kind])]
    raise ModelLoadError(f"there is no device {name} here", f"there is {', '.join(found)}", kind="device")


def _fingerprint(module: torch.nn.Module) -> tuple[float, ...]:
    """A number for every parameter by which two draws differ."""
    with torch.no_grad():
        return tuple(float(parameter.cpu().abs().sum(dtype=torch.float64)) for parameter in module.parameters())
