"""CPU seconds per gigabyte of the weight statistics, beside np.sum and a plain read of the same bytes.

The tensors are those of a ResNet-50 by default; every measurement is a median over rounds that run all of them in
turn, so that the numbers of one run may be compared.

Usage: python benchmarks/weight_statistics.py [--rounds N]
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from initcheck.estimate import estimate
from initcheck.statistics import array_moments

if TYPE_CHECKING:
    from collections.abc import Callable

STAGES = ((64, 3, 256), (128, 4, 512), (256, 6, 1024), (512, 3, 2048))
"""(width, blocks, output width) of the four stages of a ResNet-50."""


def resnet50_shapes() -> list[tuple[int, ...]]:
    """Shapes of all parameters of a ResNet-50, 25.6 million elements."""
    shapes: list[tuple[int, ...]] = [(64, 3, 7, 7), (64,), (64,)]
    before = 64
    for width, blocks, after in STAGES:
        for block in range(blocks):
            convolutions = [(width, before, 1, 1), (width, width, 3, 3), (after, width, 1, 1)]
            if block == 0:
                convolutions.append((after, before, 1, 1))
            for shape in convolutions:
                shapes += [shape, (shape[0],), (shape[0],)]
            before = after
    return [*shapes, (1000, before), (1000,)]


def draw(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Initial values: kaiming_normal weights, ones for vectors."""
    if len(shape) < 2:
        return np.ones(shape, np.float32)
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(math.sqrt(2 * shape[0] / math.prod(shape)))


def convert(x: np.ndarray, dtype: str) -> np.ndarray:
    """The numbers in another element type, 16-bit ones as raw patterns."""
    if dtype == "bfloat16":
        return (x.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
    return x.astype(dtype).view(np.uint16) if dtype == "float16" else x.astype(dtype)


def read(path: Path, buffer: bytearray) -> None:
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def medians(tasks: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each task; the first round, which fills caches, does not count."""
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds + 1):
        for name, task in tasks.items():
            start = time.process_time()
            task()
            taken[name].append(time.process_time() - start)
    return {name: statistics.median(times[1:]) for name, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    rng = np.random.default_rng(0)
    drawn = [draw(shape, rng) for shape in resnet50_shapes()]
    buffer = bytearray(8 << 20)
    print(f"{sum(x.size for x in drawn) / 1e6:.1f} million elements in {len(drawn)} tensors, median of {rounds} rounds")
    print(f"{'GB per CPU second':<12}{'read':>10}{'np.sum':>10}{'moments':>10}{'estimate':>10}")
    for dtype in ("float32", "float64", "float16", "bfloat16"):
        tensors = [convert(x, dtype) for x in drawn]
        size = sum(x.nbytes for x in tensors)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "weights"
            with path.open("wb") as file:
                for x in tensors:
                    file.write(x.data)
            seconds = medians(
                {
                    "read": lambda path=path: read(path, buffer),
                    "sum": lambda tensors=tensors: [x.reshape(-1).view(np.float32).sum() for x in tensors],
                    "moments": lambda tensors=tensors, dtype=dtype: [array_moments(x, dtype) for x in tensors],
                    "estimate": lambda tensors=tensors, dtype=dtype: [estimate((x,), x.shape, dtype) for x in tensors],
                },
                rounds,
            )
        print(f"{dtype:<12}     " + "".join(f"{size / taken / 1e9:>10.2f}" for taken in seconds.values()))


if __name__ == "__main__":
    main()
