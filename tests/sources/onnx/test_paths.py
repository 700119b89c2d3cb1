from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from onnx import helper

from initcheck.sources.onnx.call import Call, read_call
from initcheck.sources.onnx.locations import locate
from initcheck.sources.onnx.paths import is_anonymous, layer_path, module_of_parameter

if TYPE_CHECKING:
    from pathlib import Path


def call(name: str = "", op: str = "Gemm", **metadata: str) -> Call:
    node = helper.make_node(op, ["x"], ["y"], name=name)
    for key, value in metadata.items():
        entry = node.metadata_props.add()
        entry.key, entry.value = f"pkg.torch.onnx.{key}", value
    return read_call(node, 3, {"": 20})


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("/layers/layers.0/fc1/Gemm", "layers.0.fc1"),
        ("/stages/stages.1/down/down.0/Conv", "stages.1.down.0"),
        ("/seq/seq.0/l.0/l.0.1/l.0.1.0/Gemm", "seq.0.l.0.1.0"),
        ("/seq/seq.0/m.0.0/Gemm", "seq.0.m.0.0"),
        ("/enc/layers.0/self_attn/MatMul_1", "enc.layers.0.self_attn"),
        ("/Relu_2", "Relu_2"),
        ("model/dense/MatMul", "model/dense"),
        ("node_7", "node_7"),
        ("", "MatMul_3"),
    ],
)
def test_path_from_the_name_of_a_node(name, path):
    op = name.rsplit("/", 1)[-1].partition("_")[0] if "/" in name else "MatMul"
    assert layer_path(call(name, op=op)) == path


def test_a_parameter_completes_the_scope_that_it_ends_with():
    assert layer_path(call("/q/Gemm"), "d.q.weight") == "d.q"


def test_a_parameter_that_an_exporter_shares_between_layers_does_not_name_the_second():
    assert layer_path(call("/enc/layers.1/linear1/MatMul"), "enc.layers.0.linear1.weight") == "enc.layers.1.linear1"


def test_a_parameter_names_a_layer_that_nothing_else_names():
    assert layer_path(call(""), "encoder.fc.weight") == "encoder.fc"
    assert layer_path(call("node_9"), "encoder.fc.weight") == "encoder.fc"


SCOPES = "['', 'enc', 'enc.layers.1', 'enc.layers.1.attn', 'linear_1']"


def test_scopes_of_the_dynamo_exporter():
    assert layer_path(call("node_linear_1", name_scopes=SCOPES)) == "enc.layers.1.attn"
    assert (
        layer_path(call("node_linear_1", name_scopes=SCOPES), "enc.layers.1.attn.out.weight") == "enc.layers.1.attn.out"
    )
    assert layer_path(call("node_relu", op="Relu", name_scopes="['', 'relu']")) == "relu"


def test_the_traced_arguments_name_the_submodule_of_a_functional_call():
    node = "%linear_1 = call_function[target=aten.linear](args = (%x, %p_enc_layers_1_attn_out_proj_weight))"
    assert (
        layer_path(call(name_scopes=SCOPES, fx_node=node), "enc.layers.0.attn.out_proj.weight")
        == "enc.layers.1.attn.out_proj"
    )
    own = "%linear_1 = call_function[target=torch.ops.aten.linear.default](args = (%x, %p_enc_layers_1_attn_weight))"
    assert layer_path(call(name_scopes=SCOPES, fx_node=own)) == "enc.layers.1.attn"


def test_damaged_scopes_are_ignored():
    assert layer_path(call("node_3", name_scopes="['', ")) == "node_3"
    assert layer_path(call("node_3", name_scopes="7")) == "node_3"


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("features.0.weight", "features.0"),
        ("a.b.bias", "a.b"),
        ("rnn.weight_ih_l0_reverse", "rnn"),
        ("model/dense/kernel:0", "model/dense"),
        ("model/dense/kernel/ReadVariableOp:0", "model/dense"),
        ("onnx::MatMul_3", ""),
        ("val_7", ""),
        ("weight", ""),
        ("pos_embed", ""),
    ],
)
def test_module_of_a_parameter(name, module):
    assert module_of_parameter(name) == module


@pytest.mark.parametrize("name", ["val_3", "onnx::Conv_63", "12", "/a/Constant_1_output_0", "const_fold_opt__12", ""])
def test_made_up_names(name):
    assert is_anonymous(name)


@pytest.mark.parametrize("name", ["fc.weight", "gate", "blocks.0.scale", "W"])
def test_names_that_people_gave(name):
    assert not is_anonymous(name)


def test_the_innermost_line_below_the_current_directory_is_the_location(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets").mkdir()
    for name in ("main.py", "nets/block.py"):
        (tmp_path / name).write_text("")
    frames = [(tmp_path / "main.py", 3), (tmp_path / "nets/block.py", 41), ("/usr/lib/torch/nn/linear.py", 134)]
    trace = "\n".join(f'File "{file}", line {line}, in forward\n    code' for file, line in frames)
    location = locate({"pkg.torch.onnx.stack_trace": trace})
    assert location is not None
    assert (location.file, location.line, location.confidence) == ("nets/block.py", 41, "file")


def test_a_trace_from_elsewhere_gives_no_location(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert locate({"pkg.torch.onnx.stack_trace": 'File "/somewhere/else.py", line 3, in forward'}) is None
    assert locate({"pkg.torch.onnx.stack_trace": f'File "{tmp_path}/gone.py", line 3, in forward'}) is None
    assert locate({}) is None
