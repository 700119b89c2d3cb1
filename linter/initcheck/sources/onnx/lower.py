"""An ONNX file to a graph."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import onnx.defs
from onnx import inliner

from initcheck.graph import Graph, Value
from initcheck.sources.onnx.batchnorm import may_hide_normalization
from initcheck.sources.onnx.builder import Builder
from initcheck.sources.onnx.inference import Inference
from initcheck.sources.onnx.initializers import count_learned, initializer
from initcheck.sources.onnx.inputs import InputSizes, neutral_input, resolve_inputs
from initcheck.sources.onnx.known import known_array
from initcheck.sources.onnx.order import ordered_nodes
from initcheck.sources.onnx.read import read_model
from initcheck.sources.onnx.walk import Walk
from initcheck.sources.patterns import rewrite
from initcheck.sources.prune import prune

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from onnx import ModelProto

    from initcheck.graph import Node
    from initcheck.sources.onnx.read import ModelFile

__all__ = ["load"]

MAIN_OUTPUTS = ("logits", "last_hidden_state")
"""Names of the output that a loss uses, where an exporter kept them."""


def load(
    path: Path, *, shapes: Mapping[str, Sequence[int]] | None = None, dims: Mapping[str, int] | None = None
) -> Graph:
    """Lower an ONNX model.

    Args:
        path: The file.
        shapes: Input name -> shape; must agree with what the file fixes.
        dims: Symbolic dimension -> size.

    Raises:
        ModelLoadError: If the file is no model, or its graph is no graph (see ``read_model`` and ``ordered_nodes``).
        UsageError: If ``shapes`` or ``dims`` name what the model has not, or contradict it.
    """
    file = read_model(path)
    proto = _inlined(file)
    opsets = {("" if entry.domain == "ai.onnx" else entry.domain): entry.version for entry in proto.opset_import}
    stored = {tensor.name for tensor in proto.graph.initializer} | set(file.sparse)
    inputs = [entry for entry in proto.graph.input if entry.name not in stored]
    nodes = ordered_nodes(proto.graph, stored | {entry.name for entry in inputs}, path)
    sizes = resolve_inputs(inputs, path, shapes=shapes or {}, dims=dims or {})
    build = Builder(Inference(opsets))
    for tensor in proto.graph.initializer:
        build.known[tensor.name] = initializer(file.tensors[tensor.name], proto.producer_name)
    for name, shape in file.sparse.items():
        build.values[name] = Value(shape, "")
    _define_inputs(build, sizes)
    Walk(build, file, opsets, sizes.dims).run(nodes, proto.graph)
    outputs = tuple(build.activation(entry.name) for entry in proto.graph.output if entry.name not in build.known)
    lowered = rewrite(prune(build.nodes, outputs), build, outputs)
    values = _values(lowered, build, (*sizes.shapes, *outputs))
    read = {name for node in lowered for name in node.inputs}
    graph = Graph(
        nodes=lowered,
        inputs=tuple(name for name in sizes.shapes if name in build.values),
        outputs=outputs,
        main_output=_main_output(outputs, values),
        values=values,
        parameters=build.parameters.build(read),
        constants={name: constant for name, constant in build.constants.items() if name in read},
        source="onnx",
        assumptions=(*sizes.assumptions, *_restorations(build)),
        notes=_opset_notes(opsets),
        producer=f"{proto.producer_name} {proto.producer_version}".strip(),
        parameter_count=count_learned(file, build),
    )
    return replace(graph, folded_normalization=may_hide_normalization(graph))


def _inlined(file: ModelFile) -> ModelProto:
    """The model with calls of its own functions replaced by their bodies."""
    return inliner.inline_local_functions(file.proto) if file.proto.functions else file.proto


def _define_inputs(build: Builder, sizes: InputSizes) -> None:
    for name, shape in sizes.shapes.items():
        neutral = neutral_input(name, shape, sizes.dtypes[name])
        if neutral is not None:
            array, meaning = neutral
            build.known[name] = known_array(array)
            sizes.assumptions.append(f"input {name} is taken as {meaning}")
        else:
            build.values[name] = Value(shape, sizes.dtypes[name])


def _values(nodes: Sequence[Node], build: Builder, ends: Sequence[str]) -> dict[str, Value]:
    """Activations that are inputs or outputs of the graph or of a node."""
    names = [*ends, *(name for node in nodes for name in (*node.inputs, *node.outputs))]
    return {name: build.values[name] for name in dict.fromkeys(names) if name in build.values}


def _main_output(outputs: Sequence[str], values: Mapping[str, Value]) -> str:
    for name in MAIN_OUTPUTS:
        if name in outputs:
            return name
    return next((name for name in outputs if values[name].is_float), "")


def _opset_notes(opsets: Mapping[str, int]) -> tuple[str, ...]:
    newest, version = onnx.defs.onnx_opset_version(), opsets.get("", 0)
    if version <= newest:
        return ()
    return (f"opset {version} is newer than the installed onnx knows ({newest}); operators are read as of {newest}",)


def _restorations(build: Builder) -> list[str]:
    sentences = []
    if build.restored:
        layers = "1 layer" if len(build.restored) == 1 else f"{len(build.restored)} layers"
        sentences.append(f"batch normalisation that the exporter folded into {layers} was put back")
    if build.retrained:
        norms = "1 batch normalisation" if len(build.retrained) == 1 else f"{len(build.retrained)} batch normalisations"
        sentences.append(f"{norms} taken in training mode, as traced, though the file has the inference form")
    return sentences
