"""Weights pass through a buffer: peak memory does not grow with the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from onnx import TensorProto, parser

from initcheck.sources.onnx.wire import header

pytestmark = [
    pytest.mark.slow,
    # getrusage would report the parent's peak: Linux keeps it across fork and exec.
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc"),
]

PROGRAM = """
import sys
from pathlib import Path
from initcheck.sources.onnx.read import read_model
model = read_model(Path(sys.argv[1]))
values = sum(block.size for ref in model.tensors.values() for block in ref.blocks())
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(values, status["VmHWM"].split()[0])
"""


def save(path: Path, count: int, size: int) -> None:
    """A model with ``count`` float32 initialisers of ``size`` zeros, written as holes of the file."""
    model = parser.parse_model('<ir_version: 8, opset_import: ["" : 18]> g () => (y) { y = Identity(w0) }')
    graph = model.graph.SerializeToString()
    heads = []
    for i in range(count):
        proto = TensorProto(name=f"w{i}", dims=[size], data_type=TensorProto.FLOAT)
        head = proto.SerializeToString() + header(9, 4 * size)
        heads.append(header(5, len(head) + 4 * size) + head)
    model.ClearField("graph")
    with path.open("wb") as file:
        file.write(model.SerializeToString())
        file.write(header(7, len(graph) + sum(len(head) + 4 * size for head in heads)) + graph)
        for head in heads:
            file.write(head)
            file.seek(4 * size, 1)
        file.truncate()


def measure(path: Path) -> tuple[int, int]:
    """Values read, and peak resident KiB, of a process that reads all weights of the file."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, path], capture_output=True, check=True, text=True)
    values, peak = done.stdout.split()
    return int(values), int(peak)


@pytest.mark.parametrize(("count", "size"), [(1, 50_000_000), (50, 1_000_000)], ids=["one large", "many"])
def test_two_hundred_megabytes_cost_one_buffer(tmp_path: Path, count: int, size: int) -> None:
    save(tmp_path / "small.onnx", 1, 10)
    save(tmp_path / "large.onnx", count, size)
    _, base = measure(tmp_path / "small.onnx")
    values, peak = measure(tmp_path / "large.onnx")
    assert values == count * size
    assert base < 60 << 10
    # The buffer of 8 MiB, and as much again for what the allocator keeps.
    assert peak - base < 16 << 10
