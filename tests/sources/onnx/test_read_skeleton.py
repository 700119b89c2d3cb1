"""The model without its weights is still the model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser, shape_inference

from initcheck.sources.onnx.read import read_model

LARGE = np.random.default_rng(0).standard_normal((40, 50)).astype(np.float32)


def large(name: str) -> TensorProto:
    return numpy_helper.from_array(LARGE, name)


def save(path: Path, text: str, *tensors: TensorProto) -> onnx.ModelProto:
    model = parser.parse_model(text)
    model.graph.initializer.extend(tensors)
    path.write_bytes(model.SerializeToString())
    return model


MLP = """<ir_version: 8, opset_import: ["" : 18]>
g (float[N, 40] x) => (y) {
    h = MatMul(x, w)
    k = Constant<value_ints = [0, -1]>()
    y = Reshape(h, s)
}"""


def test_shape_inference_gives_what_the_full_model_gives_and_reads_no_file(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    full = save(path, MLP, large("w"), numpy_helper.from_array(np.array([-1, 25]), "s"))
    bare = read_model(path).proto
    path.unlink()
    inferred = shape_inference.infer_shapes(bare, strict_mode=True, data_prop=True)
    expected = shape_inference.infer_shapes(full, strict_mode=True, data_prop=True)
    assert inferred.graph.value_info == expected.graph.value_info
    assert inferred.graph.output == expected.graph.output


def test_only_large_payloads_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    full = save(path, MLP, large("w"), numpy_helper.from_array(np.array([-1, 25]), "s"))
    bare = read_model(path).proto
    assert bare.ByteSize() < 1000
    for initializer in (*bare.graph.initializer, *full.graph.initializer):
        if initializer.name == "w":
            for field in ("raw_data", "external_data", "data_location"):
                initializer.ClearField(field)
    assert bare == full


def test_large_constants_stay_in_the_file_and_small_ones_in_the_model(tmp_path: Path) -> None:
    wide = np.tile(LARGE, (4, 1))  # nodes are looked into from 16 KiB on
    nodes = [
        helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(wide)),
        helper.make_node("Constant", [], ["b"], value=numpy_helper.from_array(LARGE[0])),
        helper.make_node("Gemm", ["x", "w", "b"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, 160])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [3, 50])
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [y])), tmp_path / "m.onnx")
    model = read_model(tmp_path / "m.onnx")
    assert model.proto.ByteSize() < 2000
    np.testing.assert_array_equal(model.tensors["w"].load(), wide)
    np.testing.assert_array_equal(model.tensors["b"].load(), LARGE[0])


def test_tensors_of_subgraphs_and_functions_stay_reachable(tmp_path: Path) -> None:
    wide = np.tile(LARGE, (4, 1))
    out = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    branch = helper.make_graph(
        [helper.make_node("Identity", ["v"], ["z"])], "branch", [], [out], [numpy_helper.from_array(wide, "v")]
    )
    constant = helper.make_node("Constant", [], ["z"], value=numpy_helper.from_array(wide, "c"))
    nodes = [
        helper.make_node("If", ["b"], ["y"], then_branch=branch, else_branch=branch),
        helper.make_node("F", [], ["u"], domain="local"),
    ]
    function = helper.make_function("local", "F", [], ["z"], [constant], [helper.make_opsetid("", 18)])
    condition = helper.make_tensor_value_info("b", TensorProto.BOOL, [])
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "yu"]
    graph = helper.make_graph(nodes, "g", [condition], outputs)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("local", 1)]
    onnx.save(helper.make_model(graph, functions=[function], opset_imports=opsets), tmp_path / "m.onnx")

    model = read_model(tmp_path / "m.onnx")
    assert model.proto.ByteSize() < 2000
    branches = [attribute.g.initializer[0] for attribute in model.proto.graph.node[0].attribute]
    inside = [*branches, model.proto.functions[0].node[0].attribute[0].t]
    for proto in inside:
        ref = model.tensor(proto)
        assert ref.name == proto.name
        np.testing.assert_array_equal(ref.load(), wide)


def test_sparse_initialisers_are_listed_with_their_shape(tmp_path: Path) -> None:
    model = parser.parse_model(MLP)
    sparse = model.graph.sparse_initializer.add(dims=[40, 50])
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(600, np.float32), "w"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.arange(600)))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    read = read_model(tmp_path / "m.onnx")
    assert read.sparse == {"w": (40, 50)}
    assert "w" not in read.tensors


SHIPPED = sorted((Path(onnx.__file__).parent / "backend" / "test" / "data" / "light").glob("*.onnx"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_models_that_come_with_onnx_read_as_onnx_reads_them(path: Path) -> None:
    full = onnx.load(path)
    model = read_model(path)
    assert [node.op_type for node in model.proto.graph.node] == [node.op_type for node in full.graph.node]
    for initializer in full.graph.initializer:
        np.testing.assert_array_equal(model.tensors[initializer.name].load(), numpy_helper.to_array(initializer))
