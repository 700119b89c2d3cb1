"""ONNX bytes to a model without weights, and references to the weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from initcheck.sources.onnx.tensor import TensorRef
    from onnx import ModelProto, TensorProto

__all__ = ["ModelFile", "read_model"]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """An ONNX model as read from disk: the graph in memory, the weights where they were.

    Args:
        path: The file as the user named it.
        proto: The whole model, but tensors above 1 KiB keep only name, dims and data_type and say
            ``data_location = EXTERNAL``: valid for ``onnx.shape_inference.infer_shapes``, which does not read files.
            Names of the main graph's nodes and values are valid text.
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
        raise NotImplementedError


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
    raise NotImplementedError
