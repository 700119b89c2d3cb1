"""Adjoints of the laws, one per operation of the vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.graph import Op
from initcheck.signal.adjoints.attention import AttentionAdjoint, MatmulAdjoint, SoftmaxAdjoint
from initcheck.signal.adjoints.convolution import ConvolutionAdjoint, TransposedConvolutionAdjoint
from initcheck.signal.adjoints.linear import EmbeddingAdjoint, LinearAdjoint
from initcheck.signal.adjoints.normalization import NormalizeAdjoint
from initcheck.signal.adjoints.pointwise import (
    DropoutAdjoint,
    ElementwiseAdjoint,
    ExtremeAdjoint,
    ProductAdjoint,
    QuotientAdjoint,
    SumAdjoint,
    WhereAdjoint,
)
from initcheck.signal.adjoints.pooling import (
    AveragePoolAdjoint,
    MaxPoolAdjoint,
    PadAdjoint,
    ReduceAdjoint,
    ResizeAdjoint,
)
from initcheck.signal.adjoints.recurrent import RecurrentAdjoint
from initcheck.signal.adjoints.routing import CumulateAdjoint, ScatterAdjoint, SilentAdjoint, TopKAdjoint
from initcheck.signal.adjoints.shape import (
    ConcatAdjoint,
    ExpandAdjoint,
    IdentityAdjoint,
    OpaqueAdjoint,
    ReshapeAdjoint,
    SliceAdjoint,
    SplitAdjoint,
    TransposeAdjoint,
)
from initcheck.signal.adjoints.straight import StraightAdjoint

if TYPE_CHECKING:
    from initcheck.signal.adjoint import Adjoint

__all__ = ["ADJOINTS"]

ADJOINTS: dict[Op, Adjoint] = {
    Op.LINEAR: LinearAdjoint(),
    Op.CONV: ConvolutionAdjoint(),
    Op.CONV_TRANSPOSE: TransposedConvolutionAdjoint(),
    Op.EMBEDDING: EmbeddingAdjoint(),
    Op.RECURRENT: RecurrentAdjoint(),
    Op.OPAQUE: OpaqueAdjoint(),
    Op.MATMUL: MatmulAdjoint(),
    Op.ADD: SumAdjoint(1.0),
    Op.SUB: SumAdjoint(-1.0),
    Op.MUL: ProductAdjoint(),
    Op.DIV: QuotientAdjoint(),
    Op.MAXIMUM: ExtremeAdjoint(Op.MAXIMUM),
    Op.MINIMUM: ExtremeAdjoint(Op.MINIMUM),
    Op.WHERE: WhereAdjoint(),
    Op.ELEMENTWISE: ElementwiseAdjoint(),
    Op.SOFTMAX: SoftmaxAdjoint(),
    Op.ATTENTION: AttentionAdjoint(),
    Op.NORMALIZE: NormalizeAdjoint(),
    Op.DROPOUT: DropoutAdjoint(),
    Op.POOL_AVERAGE: AveragePoolAdjoint(),
    Op.POOL_MAX: MaxPoolAdjoint(),
    Op.REDUCE: ReduceAdjoint(),
    Op.CONCAT: ConcatAdjoint(),
    Op.SPLIT: SplitAdjoint(),
    Op.SLICE: SliceAdjoint(),
    Op.PAD: PadAdjoint(),
    Op.RESIZE: ResizeAdjoint(),
    Op.RESHAPE: ReshapeAdjoint(),
    Op.TRANSPOSE: TransposeAdjoint(),
    Op.EXPAND: ExpandAdjoint(),
    Op.IDENTITY: IdentityAdjoint(),
    Op.CUMULATE: CumulateAdjoint(),
    Op.TOP_K: TopKAdjoint(),
    Op.SCATTER: ScatterAdjoint(),
    Op.STRAIGHT: StraightAdjoint(),
    Op.RANDOM: SilentAdjoint(),
    Op.REAL: SilentAdjoint(),
}
"""Operation -> adjoint."""
