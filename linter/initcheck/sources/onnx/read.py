"""ONNX bytes to a model without weights, and references to the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import ModelProto

from initcheck.sources.onnx.damage import checked_size, damage_error, lfs_error, unreadable_error
from initcheck.sources.onnx.resolve import dimensions, resolve
from initcheck.sources.onnx.skeleton import skeleton
from initcheck.sources.onnx.text import invalid_text
from initcheck.sources.onnx.wire import WireFile, WireFormatError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from onnx import GraphProto, TensorProto

    from initcheck.sources.onnx.tensor import TensorRef

__all__ = ["ModelFile", "read_model"]

_ONNX_DOMAIN = ("", "ai.onnx")


@dataclass(frozen=True, slots=True)
class ModelFile:
    """An ONNX model as read from disk: the graph in memory, the weights where they were.

    Args:
        path: The file as the user named it.
        proto: The whole model, but tensors above 1 KiB keep only name, dims and data_type and say
            ``data_location = EXTERNAL``: valid for ``onnx.shape_inference.infer_shapes``, which does not read files.
            Names and metadata of the main graph are valid text.
        tensors: Every initialiser of the main graph by its name, and the ``value`` tensor of every Constant node of the
            main graph by the node's output name; small and large alike.
        sparse: Shapes of the main graph's sparse initialisers by name; their values are not read.
    """

    path: Path
    proto: ModelProto
    tensors: Mapping[str, TensorRef]
    sparse: Mapping[str, tuple[int, ...]]

    def tensor(self, proto: TensorProto) -> TensorRef:
        """Reference to any tensor of ``proto``: an initialiser of an If branch, a Constant in a function body.

        Those are compared with their bytes here, not in ``read_model``, because most are never looked at.

        Raises:
            ModelLoadError: If the bytes are missing or do not match dims and data_type.
        """
        return resolve(proto, proto.name or "(unnamed)", self.path)


def read_model(path: Path) -> ModelFile:
    """Read an ONNX file without its weights.

    The wire format is scanned for tensor payloads, which stay in the file; protobuf parses the rest. ``onnx.load``
    would hold an embedded weight twice, this holds none.

    Args:
        path: The file; external data is looked for in its folder only.

    Raises:
        ModelLoadError: If the file is no ONNX model or a tensor of the main graph has not the bytes it claims. ``kind``
            is one of missing, directory, not-a-file, unreadable, empty, lfs-pointer, text, damaged, no-graph, shape,
            external-missing, external-outside, external-range, element-type, too-large.
    """
    proto = _parse(path)
    tensors: dict[str, TensorRef] = {}
    for initializer in proto.graph.initializer:
        _add(tensors, initializer, initializer.name, path)
    for node in proto.graph.node:
        if node.op_type == "Constant" and node.domain in _ONNX_DOMAIN and node.output:
            for attribute in node.attribute:
                if attribute.name == "value" and attribute.HasField("t"):
                    _add(tensors, attribute.t, node.output[0], path)
    return ModelFile(path, proto, tensors, _sparse_shapes(proto.graph, path))


def _parse(path: Path) -> ModelProto:
    size = checked_size(path)
    pointer = lfs_error(path)
    if pointer is not None:
        raise pointer
    try:
        with path.open("rb", buffering=0) as file:
            proto: ModelProto = ModelProto.FromString(skeleton(WireFile(file, size)))
    except OSError as error:
        raise unreadable_error(path, error) from error
    except (WireFormatError, DecodeError) as error:
        raise damage_error(path, str(error)) from error
    if not proto.HasField("graph"):
        raise damage_error(path, "it holds no graph", kind="no-graph")
    text = invalid_text(proto)
    if text is not None:
        raise damage_error(path, f"the string {text!r:.60} is no text")
    return proto


def _add(tensors: dict[str, TensorRef], proto: TensorProto, name: str, path: Path) -> None:
    if not name or name in tensors:
        problem = f"two tensors are named {name!r}" if name else "an initialiser has no name"
        raise damage_error(path, problem)
    tensors[name] = resolve(proto, name, path)


def _sparse_shapes(graph: GraphProto, path: Path) -> dict[str, tuple[int, ...]]:
    shapes = {}
    for sparse in graph.sparse_initializer:
        name = sparse.values.name
        shapes[name] = dimensions(sparse.dims, f"{path}: sparse tensor {name!r}")
    return shapes
