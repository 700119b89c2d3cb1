"""The graph every source lowers to, and its vocabulary of operations.

A graph is a list of nodes in topological order over named values. A value is an activation (output of a node or a graph
input), a ``Parameter`` or a ``Constant``. Sources resolve look-through (Identity, Cast, Transpose, Reshape, Dequantize
of a parameter) before they build nodes, so that a node's inputs name the parameter itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from initcheck.construction import Construction, Write
    from initcheck.distribution import Distribution

__all__ = ["Axis", "Constant", "Graph", "Location", "Node", "Op", "Parameter", "Value"]


class Axis(StrEnum):
    """What an axis of an activation runs over."""

    BATCH = "batch"
    POSITION = "position"
    FEATURE = "feature"


class Op(StrEnum):
    """The vocabulary.

    Attributes are keys of ``Node.attributes``; a trailing ``?`` marks inputs that may be ``""``.

    Weighted operations (``fan_in``: products that one output sums; ``fan_out``: outputs that one input feeds):

    * ``LINEAR`` (x, weight, bias?): ``axis`` of x that is contracted, ``fan_in``, ``fan_out``, ``out_axis`` of the
      stored weight (None if unknown), ``scale`` on the product, ``bias_scale``.
    * ``CONV``, ``CONV_TRANSPOSE`` (x, weight, bias?): ``kernel``, ``strides``, ``dilations``, ``padding`` as
      ((before, after), ...) per spatial axis, ``groups``, ``fan_in``, ``fan_out``, ``out_axis``; x is
      (batch, channel, *spatial).
    * ``EMBEDDING`` (ids, weight): rows of the weight picked by ids. ids is an activation or a Constant.
    * ``RECURRENT`` (x, input weight, recurrent weight, bias?, state bias?, initial state...): ``cell`` lstm | gru |
      rnn, ``hidden``, ``directions``, ``activation``, ``fan_in``, ``fan_out``.
    * ``OPAQUE`` (...): ``type`` as the source spells it. Nothing is known of it.

    Between activations:

    * ``MATMUL`` (a, b): numpy's matmul, ``scale``. ``ADD``, ``SUB``, ``MUL``, ``DIV``, ``MAXIMUM``, ``MINIMUM`` (a, b):
      with broadcasting; an operand may be a Parameter or a Constant. ``WHERE`` (condition, a, b).
    * ``ELEMENTWISE`` (x): ``function`` is a name of ``signal/functions.py``, ``arguments`` its keyword arguments.
    * ``SOFTMAX`` (x): ``axis``. ``ATTENTION`` (query, key, value, mask?): (..., positions, width) each, ``scale``,
      ``causal``.
    * ``NORMALIZE`` (x, scale?, shift?, mean?, variance?): ``kind`` layer | rms | batch | instance | group,
      ``epsilon``, ``axes`` (layer, rms), ``groups`` (group), ``training`` (batch: whether batch statistics are used),
      ``folded`` (put back by the source), ``length`` (root mean square before the scale, 1 unless an Euclidean norm).
    * ``DROPOUT`` (x): ``rate``, ``training``.
    * ``POOL_AVERAGE``, ``POOL_MAX`` (x): ``kernel``, ``strides``, ``dilations``, ``padding``, ``count_include_pad``.
    * ``REDUCE`` (x): ``function`` mean | sum | max | min, ``axes``, ``keepdims``.
    * ``CONCAT`` (x...): ``axis``. ``SPLIT`` (x): ``axis``, several outputs. ``SLICE`` (x): part of x along ``axes``
      (also Gather with constant indices); ``axes`` that lose their axis are in ``dropped``; ``starts`` where known.
    * ``PAD`` (x): ``padding`` per axis, ``value`` (None: reflect or edge). ``RESIZE`` (x): ``mode`` nearest | linear |
      cubic.
    * ``CUMULATE`` (x): sums up to every position along ``axis``, ``reverse``, ``exclusive``. ``TOP_K`` (x): values,
      indices; the ``count`` largest (smallest unless ``largest``) along ``axis``. ``SCATTER`` (x): rows of x at places
      that the input picks, zero elsewhere.
    * ``STRAIGHT`` (value, through): a value with the response and the gradient of another, ``detached`` whether its own
      is cut off for sure, ``looked_up`` whether it is rows of a table.
    * ``RANDOM`` (): numbers drawn in every pass, ``family`` normal | uniform | bernoulli, ``mean``, ``std``. ``REAL``
      (x): integers or truth values as real numbers.
    * ``RESHAPE``, ``TRANSPOSE`` (``permutation``), ``EXPAND`` (broadcast or tile), ``IDENTITY`` (x).
    """

    LINEAR = "linear"
    CONV = "conv"
    CONV_TRANSPOSE = "conv_transpose"
    EMBEDDING = "embedding"
    RECURRENT = "recurrent"
    OPAQUE = "opaque"
    MATMUL = "matmul"
    ADD = "add"
    SUB = "sub"
    MUL = "mul"
    DIV = "div"
    MAXIMUM = "maximum"
    MINIMUM = "minimum"
    WHERE = "where"
    ELEMENTWISE = "elementwise"
    SOFTMAX = "softmax"
    ATTENTION = "attention"
    NORMALIZE = "normalize"
    DROPOUT = "dropout"
    POOL_AVERAGE = "pool_average"
    POOL_MAX = "pool_max"
    REDUCE = "reduce"
    CONCAT = "concat"
    SPLIT = "split"
    SLICE = "slice"
    PAD = "pad"
    RESIZE = "resize"
    RESHAPE = "reshape"
    TRANSPOSE = "transpose"
    EXPAND = "expand"
    IDENTITY = "identity"
    CUMULATE = "cumulate"
    TOP_K = "top_k"
    SCATTER = "scatter"
    STRAIGHT = "straight"
    RANDOM = "random"
    REAL = "real"


WEIGHTED = frozenset({Op.LINEAR, Op.CONV, Op.CONV_TRANSPOSE, Op.EMBEDDING, Op.RECURRENT})
"""Operations that count as weighted layers; an ``OPAQUE`` node with a Parameter of two or more axes counts as one not
analysed."""


@dataclass(frozen=True, slots=True)
class Location:
    """A line of the user's source.

    Attributes:
        file: Path as it should be shown.
        line: First line, from 1.
        confidence: ``exact`` (the line that creates the layer), ``class``, ``factory`` or ``file``.
    """

    file: str
    line: int
    confidence: str = "file"


@dataclass(frozen=True, slots=True)
class Parameter:
    """A float tensor that the model owns.

    Attributes:
        name: Name in the source (``layers.0.fc1.weight``), or the best the file gives.
        shape: Stored shape.
        dtype: Stored element type, numpy's name or ``bfloat16``.
        distribution: Moments of its elements.
        rows: Per-unit facts of the weight, None for vectors and scalars or where unknown.
        values: The elements in float64, for small tensors only; None otherwise.
        history: Writes in order, empty when the source keeps none.
        content: Key that parameters of one graph share whose random elements are equal bit by bit (copies of one draw);
            empty where there is none known.
        written: False only where it is certain that nothing ever wrote it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    distribution: Distribution
    rows: RowFacts | None = None
    values: np.ndarray | None = field(default=None, compare=False)
    history: tuple[Write, ...] = ()
    content: str = ""
    written: bool = True

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.distribution.size


@dataclass(frozen=True, slots=True)
class RowFacts:
    """What one row (the weights of one output unit) of a weight looks like next to the others.

    Attributes:
        count: Number of output units.
        distinct: Number of rows that differ from every earlier row, exactly; counted over ``examined`` rows.
        examined: Number of rows looked at.
        norm_variation: Coefficient of variation of the row norms.
        norm_variation_expected: What sampling alone would give for independent elements of the same kurtosis.
    """

    count: int
    distinct: int
    examined: int
    norm_variation: float
    norm_variation_expected: float


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor that is structure, not weight: shapes, indices, masks, scalars of a formula."""

    array: np.ndarray = field(compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.array.shape)


@dataclass(frozen=True, slots=True)
class Value:
    """An activation.

    Attributes:
        shape: Sizes with symbolic dimensions replaced, None when unknown.
        dtype: numpy's name of the element type, empty when unknown.
    """

    shape: tuple[int, ...] | None
    dtype: str = "float32"

    @property
    def is_float(self) -> bool:
        """Whether elements are real numbers (a signal) rather than indices or truth values."""
        return self.dtype.startswith(("float", "bfloat")) or not self.dtype


@dataclass(frozen=True, slots=True)
class Node:
    """One operation.

    Attributes:
        op: Word of the vocabulary.
        name: Unique within the graph.
        inputs: Names of values, parameters or constants; ``""`` for an absent optional input.
        outputs: Names of the values it defines.
        attributes: As ``Op`` documents.
        path: Layer path people use (``encoder.layers.3.fc1``); several nodes may share it.
        kind: What people call the layer (``linear``, ``conv2d``, ``batch_norm``, ``relu``).
        location: Line of the user's source, if known.
    """

    op: Op
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""
    kind: str = ""
    location: Location | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """A lowered model.

    Attributes:
        nodes: In topological order, single assignment.
        inputs: Names of graph inputs (keys of ``values``).
        outputs: Names of graph outputs.
        main_output: The output a loss would use: logits, else last_hidden_state, else the first float output; ``""`` if
            none.
        values: Every activation.
        parameters: Every parameter that a node reads.
        constants: Every constant that a node reads.
        source: ``onnx`` or ``torch``.
        assumptions: Sentences about what was assumed (sizes of symbolic dimensions, a norm put back).
        notes: Sentences about what could not be read as usual.
        producer: Name and version of the exporter, if known.
        folded_normalization: Whether normalisation may have been folded away without a marker (INI902).
        parameter_count: Elements of all parameters of the model, used or not.
        unused: Name of every parameter that the forward pass never reads -> line of the layer that owns it; empty where
            the source cannot tell.
        construction: How all parameters came by their values, None where the source cannot tell.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    main_output: str
    values: Mapping[str, Value]
    parameters: Mapping[str, Parameter]
    constants: Mapping[str, Constant]
    source: str = ""
    assumptions: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    producer: str = ""
    folded_normalization: bool = False
    parameter_count: int = 0
    unused: Mapping[str, Location | None] = field(default_factory=dict)
    construction: Construction | None = None

    def weight(self, node: Node) -> Parameter | None:
        """The main weight of a node: its second input for the weighted operations, if it is a parameter."""
        return self.parameters.get(node.inputs[1]) if node.op in WEIGHTED and len(node.inputs) > 1 else None

    def bias(self, node: Node) -> Parameter | None:
        """The bias of a linear or convolution, if it has one."""
        if node.op in {Op.LINEAR, Op.CONV, Op.CONV_TRANSPOSE} and len(node.inputs) > 2:
            return self.parameters.get(node.inputs[2])
        return None
