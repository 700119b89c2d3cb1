"""Whatever the bytes are, there is a model or a ModelLoadError: no other exception, no hang, no huge allocation."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, parser

from initcheck.errors import ModelLoadError
from initcheck.sources.onnx.read import read_model

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = settings(max_examples=400, deadline=2000)


def seeds() -> list[bytes]:
    """Small models that between them take every path of the reader."""
    values = np.random.default_rng(0).standard_normal((20, 20)).astype(np.float32)
    model = parser.parse_model("""<ir_version: 10, opset_import: ["" : 21]>
    g (float[N, 20] x, bool b) => (y) {
        h = MatMul(x, w)
        c = Constant<value = float[3] {1, 2, 3}>()
        y = If(b) <then_branch = t () => (z) { z = Add(h, w) }, else_branch = e () => (z) { z = Relu(h) }>
    }""")
    graph = model.graph
    graph.initializer.append(numpy_helper.from_array(values, "w"))
    graph.initializer.append(helper.make_tensor("typed", TensorProto.FLOAT, [20, 20], values.ravel()))
    graph.initializer.append(helper.make_tensor("half", TensorProto.BFLOAT16, [5], values[0, :5]))
    graph.initializer.append(helper.make_tensor("packed", TensorProto.INT4, [5], [1, 2, 3, 4, 5]))
    outside = graph.initializer.add(name="far", dims=[4], data_type=1, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "w.bin"), ("offset", "16"), ("length", "16")):
        outside.external_data.add(key=key, value=value)
    graph.sparse_initializer.add(dims=[9]).values.CopyFrom(helper.make_tensor("s", TensorProto.FLOAT, [2], [1, 2]))
    graph.node[0].metadata_props.add(key="name_scopes", value="['', 'fc']")
    plain = model.SerializeToString()
    constant = helper.make_node("Constant", [], ["big"], value=numpy_helper.from_array(np.tile(values, (12, 1))))
    graph.node.append(constant)
    return [plain, model.SerializeToString()]


SEEDS = seeds()


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "w.bin").write_bytes(bytes(64))
    return folder / "m.onnx"


def use(path: Path, content: bytes) -> bool:
    """Read ``content`` and everything it refers to; whether it was a model."""
    path.write_bytes(content)
    try:
        model = read_model(path)
        for ref in model.tensors.values():
            if ref.element is not None:
                assert ref.load().shape == ref.shape
                assert sum(block.nbytes for block in ref.blocks(100)) == ref.nbytes
    except ModelLoadError as error:
        refusal = error
    else:
        return True
    assert len(str(refusal).splitlines()) == 1
    assert refusal.hint
    return False


@pytest.mark.parametrize("seed", SEEDS)
def test_the_seeds_are_models(path: Path, seed: bytes) -> None:
    assert use(path, seed)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A seed with some bytes replaced, put in or taken out, perhaps cut."""
    content = bytearray(draw(st.sampled_from(SEEDS)))
    # Payloads make up most of a seed; damage counts in what stands between them.
    place = st.one_of(st.integers(0, min(400, len(content) - 1)), st.integers(0, len(content) - 1))
    for at in draw(st.lists(place, max_size=4)):
        # Mostly one byte for another, which leaves the lengths around it right.
        taken, size = draw(st.sampled_from([(1, 1), (1, 1), (1, 1), (0, 5), (5, 0), (10, 3)]))
        content[at : at + taken] = draw(st.binary(min_size=size, max_size=size))
    return bytes(content[: draw(st.one_of(st.none(), st.integers(0, len(content))))])


@EXAMPLES
@given(content=damaged())
def test_damaged_models(path: Path, content: bytes) -> None:
    use(path, content)


@EXAMPLES
@given(content=st.binary(max_size=200))
def test_random_bytes(path: Path, content: bytes) -> None:
    use(path, content)


@EXAMPLES
@given(
    dims=st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
    data_type=st.integers(-1, 40),
    location=st.sampled_from([TensorProto.DEFAULT, TensorProto.EXTERNAL]),
    entries=st.dictionaries(st.sampled_from(["location", "offset", "length", "embedded_offset"]), st.text(max_size=5)),
    raw=st.binary(max_size=16),
)
def test_tensors_with_any_claim(
    path: Path, dims: list[int], data_type: int, location: int, entries: dict[str, str], raw: bytes
) -> None:
    model = parser.parse_model('<ir_version: 10, opset_import: ["" : 21]> g () => (y) { y = Identity(w) }')
    tensor = model.graph.initializer.add(name="w", dims=dims, data_type=data_type, data_location=location, raw_data=raw)
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)
    use(path, model.SerializeToString())


def test_a_huge_claim_allocates_nothing(path: Path) -> None:
    header = b"\x3a" + b"\xff" * 4 + b"\x7f"
    tracemalloc.start()
    try:
        assert not use(path, header + bytes(100))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
