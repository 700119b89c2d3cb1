"""Sizes of the model's inputs, with symbolic dimensions replaced."""

from __future__ import annotations

import ast
import operator
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from initcheck.errors import UsageError
from initcheck.near_miss import did_you_mean
from initcheck.sources.onnx.elements import ELEMENTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from onnx import TensorShapeProto, ValueInfoProto

    from initcheck.sources.onnx.known import Array

__all__ = ["InputSizes", "element_name", "neutral_input", "resolve_inputs"]

BATCH = 32
"""Samples per batch, as for every source."""

LENGTH = 16
"""Any other dimension that the file leaves open."""

IMAGE = 64
"""Height and width of an input with four axes."""

LARGEST = 2**63 - 1
"""Largest size that the format can hold."""

LONGEST = 200
"""Characters of an expression; a longer one is none that an exporter writes, and may nest deeper than a parser goes."""

_COPY = re.compile(r"\.\d+$")
"""What torch's legacy exporter appends to a name that it had used before."""

_OPERATORS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
}


@dataclass(slots=True)
class InputSizes:
    """What the inputs look like once nothing is symbolic.

    Attributes:
        shapes: Input name -> shape, None when the file does not even give a rank.
        dtypes: Input name -> element type.
        dims: Every named dimension -> its size.
        assumptions: Sentences about sizes that nobody gave.
    """

    shapes: dict[str, tuple[int, ...] | None] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)
    dims: dict[str, int] = field(default_factory=dict)
    assumptions: list[str] = field(default_factory=list)


def resolve_inputs(
    inputs: Sequence[ValueInfoProto],
    path: Path,
    *,
    shapes: Mapping[str, Sequence[int]],
    dims: Mapping[str, int],
) -> InputSizes:
    """Replace symbolic dimensions by what the user said, else by defaults.

    Args:
        inputs: Inputs of the graph that are no initialisers.
        path: The file, for messages.
        shapes: Input name -> shape, from ``--input-shape``.
        dims: Symbolic dimension -> size, from ``--dim``.

    Raises:
        UsageError: If a name is not one of the model's, or a size contradicts the file.
    """
    sizes = InputSizes(dims={name: _checked(name, size) for name, size in dims.items()})
    named = {entry.name: entry for entry in inputs}
    symbols = {dim.dim_param for entry in inputs for dim in _dims(entry) if dim.dim_param}
    _require_names(named, shapes, "input", path)
    _require_names(symbols | _terms(symbols), dims, "symbolic dimension", path)
    for name, shape in shapes.items():
        for axis, size in enumerate(shape):
            _checked(f"{axis} of {name}", size)
        _bind(named[name], shape, sizes, path)
    defaults: dict[str, int] = {}
    for entry in inputs:
        sizes.dtypes[entry.name] = element_name(entry.type.tensor_type.elem_type)
        if entry.name in shapes:
            sizes.shapes[entry.name] = tuple(shapes[entry.name])
        elif entry.type.tensor_type.HasField("shape"):
            sizes.shapes[entry.name] = tuple(
                _size(dim, axis, entry, sizes, defaults) for axis, dim in enumerate(_dims(entry))
            )
        else:
            sizes.shapes[entry.name] = None
            sizes.assumptions.append(f"the shape of input {entry.name} is not in the file; give it with --input-shape")
    if defaults:
        spelled = ", ".join(f"{name}={size}" for name, size in defaults.items())
        sizes.assumptions.append(f"symbolic dimensions taken as {spelled} (--dim or --input-shape sets them)")
    return sizes


def element_name(code: int) -> str:
    """Name of an ONNX element type, empty when it is not known."""
    element = ELEMENTS.get(code)
    return element.name if element else ""


def neutral_input(name: str, shape: tuple[int, ...] | None, dtype: str) -> tuple[Array, str] | None:
    """The value of an integer input that is no data: a mask that hides nothing, one segment, consecutive positions.

    These are the names that transformer exports share; random numbers in their place would mask random tokens.

    Returns:
        The array and what it is, or None for every other input.
    """
    if shape is None or not dtype.startswith(("int", "uint", "bool")):
        return None
    native = np.dtype(dtype)
    plain = _COPY.sub("", name)
    if plain.endswith("attention_mask"):
        return np.ones(shape, native), "all ones"
    if plain in {"token_type_ids", "segment_ids"}:
        return np.zeros(shape, native), "all zeros"
    if plain == "position_ids" and shape:
        return np.broadcast_to(np.arange(shape[-1], dtype=native), shape), "consecutive"
    return None


def _dims(entry: ValueInfoProto) -> Sequence[TensorShapeProto.Dimension]:
    dims: Sequence[TensorShapeProto.Dimension] = entry.type.tensor_type.shape.dim
    return dims


def _require_names(known: Mapping[str, object] | set[str], given: Mapping[str, object], what: str, path: Path) -> None:
    for name in given:
        if name not in known:
            names = ", ".join(sorted(known)) or "none"
            hint = did_you_mean(name, known) or f"it has: {names}"
            raise UsageError(f"{path}: there is no {what} {name!r}", hint)


def _checked(name: str, size: int) -> int:
    if not 1 <= size <= LARGEST:
        raise UsageError(f"dimension {name!r} is {size}", f"give a size from 1 to {LARGEST}")
    return size


def _bind(entry: ValueInfoProto, shape: Sequence[int], sizes: InputSizes, path: Path) -> None:
    """Check a shape the user gave against the file, and let it fix the named dimensions it meets."""
    given = ",".join(map(str, shape))
    if not entry.type.tensor_type.HasField("shape"):
        return
    dims = _dims(entry)
    declared = ",".join(dim.dim_param or str(dim.dim_value) if dim.WhichOneof("value") else "?" for dim in dims)
    hint = f"{path} declares {entry.name}={declared}"
    if len(dims) != len(shape):
        raise UsageError(f"input {entry.name} has {len(dims)} axes, the shape {given} has {len(shape)}", hint)
    for axis, (dim, size) in enumerate(zip(dims, shape, strict=True)):
        if dim.WhichOneof("value") == "dim_value" and dim.dim_value > 0 and dim.dim_value != size:
            raise UsageError(f"axis {axis} of input {entry.name} is fixed to {dim.dim_value}, not {size}", hint)
        if dim.dim_param and sizes.dims.setdefault(dim.dim_param, size) != size:
            raise UsageError(f"dimension {dim.dim_param!r} is {sizes.dims[dim.dim_param]} and {size}", hint)


def _size(
    dim: TensorShapeProto.Dimension, axis: int, entry: ValueInfoProto, sizes: InputSizes, defaults: dict[str, int]
) -> int:
    if dim.WhichOneof("value") == "dim_value" and dim.dim_value >= 0:
        return dim.dim_value
    symbol = dim.dim_param
    if symbol in sizes.dims:
        return sizes.dims[symbol]
    size = evaluated(symbol, sizes.dims) or _default(symbol, axis, len(_dims(entry)))
    defaults[symbol or f"{entry.name}[{axis}]"] = size
    if symbol:
        sizes.dims[symbol] = size
    return size


def _default(symbol: str, axis: int, rank: int) -> int:
    if "batch" in symbol.lower() or (axis == 0 and "seq" not in symbol.lower()):
        return BATCH
    return IMAGE if rank == 4 and axis >= 2 else LENGTH


def _terms(symbols: set[str]) -> set[str]:
    """Names inside expressions such as ``past + 1``."""
    found: set[str] = set()
    for symbol in symbols:
        tree = _parsed(symbol)
        if tree is not None:
            found.update(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    return found


def evaluated(symbol: str, dims: Mapping[str, int]) -> int | None:
    """The value of an expression in named dimensions, None when it is none or holds an unknown name."""
    tree = _parsed(symbol)
    value = None if tree is None else _value(tree.body, dims)
    return value if value is not None and 0 < value <= LARGEST else None


def _parsed(symbol: str) -> ast.Expression | None:
    if len(symbol) > LONGEST:
        return None
    try:
        return ast.parse(symbol, mode="eval")
    except (SyntaxError, ValueError):
        return None


def _value(node: ast.expr, dims: Mapping[str, int]) -> int | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    if isinstance(node, ast.Name):
        return dims.get(node.id)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left, dims), _value(node.right, dims)
        if left is None or right is None or (right == 0 and isinstance(node.op, ast.FloorDiv)):
            return None
        return _OPERATORS[type(node.op)](left, right)
    return None
