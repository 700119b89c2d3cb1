"""A model file as onnxruntime can run it: weights where they belong or fed from outside, inner values as outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper, inliner

from initcheck.errors import ModelLoadError
from initcheck.processors import threads
from initcheck.sources.onnx.order import ordered_nodes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from initcheck.sources.onnx.known import Array
    from initcheck.sources.onnx.read import ModelFile

__all__ = ["Session", "in_double", "perturbable", "runnable"]

LARGEST = (1 << 31) - (1 << 20)
"""Bytes that a serialised model may have."""

_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16})

PERTURBATION = ":perturbation"
"""What is appended to the name of a value for the input that is added to it."""


def runnable(file: ModelFile, fed: Collection[str], wanted: Iterable[str]) -> tuple[ModelProto, frozenset[str]]:
    """The model with its stored weights filled in.

    Args:
        file: As read, the weights left in the file.
        fed: Initialisers that become inputs.
        wanted: Values that become outputs, if a node of the main graph makes them.

    Returns:
        The model, and those of the wanted values that it puts out.

    Raises:
        ModelLoadError: If what must be filled in is too large for one message, or cannot be read.
    """
    model = ModelProto()
    model.CopyFrom(inliner.inline_local_functions(file.proto) if file.proto.functions else file.proto)
    graph = model.graph
    inputs = {entry.name for entry in graph.input}
    given = inputs | {tensor.name for tensor in graph.initializer} | set(file.sparse)
    nodes = list(ordered_nodes(graph, given, file.path))
    kept = []
    for tensor in graph.initializer:
        if tensor.name not in fed:
            kept.append(tensor)
        elif tensor.name not in inputs:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    _replace(graph.initializer, kept)
    _replace(graph.node, nodes)
    _fill(graph, file)
    made = {name for node in graph.node for name in node.output if name}
    there = {entry.name for entry in graph.output}
    found = made.intersection(wanted)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(found - there))
    return model, frozenset(found)


def perturbable(model: ModelProto, values: Collection[str]) -> ModelProto:
    """The model with an input added to each of some values: ``NAME:perturbation``, of the value's shape or a scalar."""
    changed = ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name in values:
                node.output[index] = f"{name}:unperturbed"
                nodes.append(helper.make_node("Add", [node.output[index], name + PERTURBATION], [name]))
                graph.input.append(helper.make_tensor_value_info(name + PERTURBATION, TensorProto.DOUBLE, None))
    _replace(graph.node, [_copied(node) for node in nodes])
    return changed


def in_double(model: ModelProto) -> ModelProto:
    """The model with every real number in double precision, as far as its operators can be told so."""
    changed = ModelProto()
    changed.CopyFrom(model)
    for graph in _graphs(changed.graph):
        for tensor in graph.initializer:
            _widen(tensor)
        del graph.value_info[:]
        for entry in (*graph.input, *graph.output):
            if entry.type.tensor_type.elem_type in _FLOATS:
                entry.type.tensor_type.elem_type = TensorProto.DOUBLE
        for node in graph.node:
            _widen_node(node)
    return changed


class Session:
    """onnxruntime on one model, nothing fused or folded.

    Args:
        model: What to run.

    Raises:
        ModelLoadError: If the model is too large for one message.
        Exception: Whatever onnxruntime raises on a model that it cannot run, or when it does not load.
    """

    def __init__(self, model: ModelProto) -> None:
        import onnxruntime  # type: ignore[import-untyped]

        if model.ByteSize() > LARGEST:
            raise ModelLoadError("its constants are too large to be run", "export it with smaller ones", kind="memory")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = threads()
        # What it cannot do it raises as well.
        options.log_severity_level = 4
        self._seed = onnxruntime.set_seed
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._types = {entry.name: entry.type for entry in self._session.get_inputs()}

    def run(self, feeds: Mapping[str, Array], outputs: Sequence[str], seed: int) -> dict[str, Array]:
        """Values of some outputs; the same seed gives the same random numbers (dropout)."""
        self._seed(seed)
        found = self._session.run(list(outputs), {name: feeds[name] for name in feeds if name in self._types})
        return dict(zip(outputs, found, strict=True))


def _fill(graph: GraphProto, file: ModelFile) -> None:
    """Put the bytes back that reading left in the file."""
    for tensor in _tensors(graph):
        if tensor.data_location == TensorProto.EXTERNAL:
            content = b"".join(block.tobytes() for block in file.tensor(tensor).blocks())
            del tensor.external_data[:]
            tensor.ClearField("data_location")
            tensor.raw_data = content


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    for inner in _graphs(graph):
        yield from inner.initializer
        for sparse in inner.sparse_initializer:
            yield from (sparse.values, sparse.indices)
        for node in inner.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    """A graph and the bodies of its nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _widen(tensor: TensorProto) -> None:
    if tensor.data_type in _FLOATS:
        wide = onnx.numpy_helper.to_array(tensor).astype("float64")
        tensor.CopyFrom(onnx.numpy_helper.from_array(wide, tensor.name))


def _widen_node(node: onnx.NodeProto) -> None:
    for attribute in node.attribute:
        if attribute.HasField("t"):
            _widen(attribute.t)
        is_type = node.op_type == "Cast" and attribute.name == "to"
        if is_type and attribute.i in _FLOATS:
            attribute.i = TensorProto.DOUBLE
    if node.op_type == "Constant" and node.attribute and node.attribute[0].name in {"value_float", "value_floats"}:
        literal: Any = helper.get_attribute_value(node.attribute[0])
        numbers = list(literal) if node.attribute[0].name == "value_floats" else [literal]
        shape = [len(numbers)] if node.attribute[0].name == "value_floats" else []
        tensor = helper.make_tensor(node.output[0], TensorProto.DOUBLE, shape, numbers)
        _replace(node.attribute, [helper.make_attribute("value", tensor)])


def _copied(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _replace(field: Any, entries: Sequence[Any]) -> None:
    """The entries in place of those of a repeated field, which may hold them."""
    copies = [type(entry)() for entry in entries]
    for copy, entry in zip(copies, entries, strict=True):
        copy.CopyFrom(entry)
    del field[:]
    field.extend(copies)
