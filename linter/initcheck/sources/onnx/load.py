"""An ONNX file to a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx.defs

from initcheck.graph import Graph, Value
from initcheck.sources.onnx.batchnorm import may_hide_normalization
from initcheck.sources.onnx.builder import Builder
from initcheck.sources.onnx.inference import Inference
from initcheck.sources.onnx.inputs import InputSizes, neutral_input, resolve_inputs
from initcheck.sources.onnx.known import known_array, known_tensor
from initcheck.sources.onnx.order import ordered_nodes
from initcheck.sources.onnx.paths import is_anonymous
from initcheck.sources.onnx.patterns import rewrite
from initcheck.sources.onnx.prune import prune
from initcheck.sources.onnx.read import read_model
from initcheck.sources.onnx.walk import Walk

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from onnx import ModelProto

    from initcheck.sources.onnx.known import Known
    from initcheck.sources.onnx.read import ModelFile
    from initcheck.sources.onnx.tensor import TensorRef

__all__ = ["load"]

_FLOATS = ("float", "bfloat")

_MAIN_OUTPUTS = ("logits", "last_hidden_state")


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
    notes = _opset_notes(opsets)
    initial = {tensor.name for tensor in proto.graph.initializer} | set(file.sparse)
    inputs = [entry for entry in proto.graph.input if entry.name not in initial]
    given = initial | {entry.name for entry in inputs}
    nodes = ordered_nodes(proto.graph, given, path)
    sizes = resolve_inputs(inputs, path, shapes=shapes or {}, dims=dims or {})
    build = Builder(Inference(opsets))
    for tensor in proto.graph.initializer:
        build.known[tensor.name] = initialiser(file.tensors[tensor.name])
    for name, shape in file.sparse.items():
        build.values[name] = Value(shape, "")
    _define_inputs(build, sizes)
    Walk(build, file, opsets, sizes.dims).run(nodes, proto.graph)
    outputs = tuple(
        build.activation(entry.name) for entry in proto.graph.output if entry.name not in build.known
    )
    return _graph(build, file, proto, sizes, outputs, notes)


def _graph(
    build: Builder,
    file: ModelFile,
    proto: ModelProto,
    sizes: InputSizes,
    outputs: tuple[str, ...],
    notes: list[str],
) -> Graph:
    nodes = rewrite(prune(build.nodes, outputs), build, outputs)
    read = {name for node in nodes for name in node.inputs}
    values = {name: build.values[name] for name in (*sizes.shapes, *outputs) if name in build.values}
    values.update((name, build.values[name]) for node in nodes for name in (*node.inputs, *node.outputs) if name in build.values)
    producer = f"{proto.producer_name} {proto.producer_version}".strip()
    parameters = build.parameters.build(read)
    graph = Graph(
        nodes=nodes,
        inputs=tuple(name for name in sizes.shapes if name in build.values),
        outputs=outputs,
        main_output=_main_output(outputs, values),
        values=values,
        parameters=parameters,
        constants={name: constant for name, constant in build.constants.items() if name in read},
        source="onnx",
        assumptions=(*sizes.assumptions, *_norm_assumptions(build)),
        notes=tuple(notes),
        producer=producer,
        parameter_count=_count(file, build),
    )
    return _with_suspicion(graph, producer)


def _with_suspicion(graph: Graph, producer: str) -> Graph:
    from dataclasses import replace

    return replace(graph, folded_normalization=True) if may_hide_normalization(graph, producer) else graph


def initialiser(ref: TensorRef) -> Known:
    """An initialiser: learned where it is a float tensor of several elements.

    One number is a constant of a formula (an epsilon, a scale) unless it has a name that somebody gave it: then it is a
    learned gate, as ReZero and SkipInit have.
    """
    named = not is_anonymous(ref.name)
    return known_tensor(ref, learned=ref.dtype.startswith(_FLOATS) and (ref.size > 1 or (ref.size == 1 and named)))


def _define_inputs(build: Builder, sizes: InputSizes) -> None:
    for name, shape in sizes.shapes.items():
        neutral = neutral_input(name, shape, sizes.dtypes[name])
        if neutral is not None:
            array, meaning = neutral
            build.known[name] = known_array(np.asarray(array))
            sizes.assumptions.append(f"input {name} is taken as {meaning}")
        else:
            build.values[name] = Value(shape, sizes.dtypes[name])


def _inlined(file: ModelFile) -> ModelProto:
    """The model with calls of its own functions replaced by their bodies."""
    if not file.proto.functions:
        return file.proto
    from onnx import inliner

    return inliner.inline_local_functions(file.proto)


def _opset_notes(opsets: Mapping[str, int]) -> list[str]:
    newest, version = onnx.defs.onnx_opset_version(), opsets.get("", 0)
    if version <= newest:
        return []
    return [f"opset {version} is newer than the installed onnx knows ({newest}); operators are read as of {newest}"]


def _norm_assumptions(build: Builder) -> list[str]:
    sentences = []
    if build.restored:
        count = len(build.restored)
        sentences.append(
            f"batch normalisation that the exporter folded into {count} layer{'s' * (count > 1)} was put back"
        )
    if build.retrained:
        sentences.append(
            f"{len(build.retrained)} batch normalisations were traced in training mode and are analysed so,"
            " though the file has them in inference form"
        )
    return sentences + build.assumptions


def _main_output(outputs: Sequence[str], values: Mapping[str, Value]) -> str:
    for name in _MAIN_OUTPUTS:
        if name in outputs:
            return name
    return next((name for name in outputs if values[name].is_float), "")


def _count(file: ModelFile, build: Builder) -> int:
    return sum(
        ref.size
        for name, ref in file.tensors.items()
        if (known := build.known.get(name)) is not None and known.origin is not None and not name.endswith(_STATISTICS)
    )


_STATISTICS = ("running_mean", "running_var", "moving_mean", "moving_variance")
