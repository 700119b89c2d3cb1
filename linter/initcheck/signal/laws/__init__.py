"""Laws of propagation, one per operation of the vocabulary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from initcheck.graph import Op
from initcheck.signal.laws.attention import AttentionLaw, MatmulLaw, SoftmaxLaw
from initcheck.signal.laws.choice import ExtremeLaw, WhereLaw
from initcheck.signal.laws.combine import SumLaw
from initcheck.signal.laws.convolution import ConvolutionLaw, TransposedConvolutionLaw
from initcheck.signal.laws.cumulative import CumulateLaw
from initcheck.signal.laws.drawn import RandomLaw, RealLaw
from initcheck.signal.laws.elementwise import DropoutLaw, ElementwiseLaw
from initcheck.signal.laws.linear import EmbeddingLaw, LinearLaw
from initcheck.signal.laws.normalization import NormalizeLaw
from initcheck.signal.laws.opaque import OpaqueLaw
from initcheck.signal.laws.pooling import AveragePoolLaw, MaxPoolLaw, PadLaw, ResizeLaw
from initcheck.signal.laws.product import ProductLaw, QuotientLaw
from initcheck.signal.laws.recurrent import RecurrentLaw
from initcheck.signal.laws.reduction import ReduceLaw
from initcheck.signal.laws.selection import ScatterLaw, TopKLaw
from initcheck.signal.laws.shape import (
    ConcatLaw,
    ExpandLaw,
    IdentityLaw,
    ReshapeLaw,
    SliceLaw,
    SplitLaw,
    TransposeLaw,
)
from initcheck.signal.laws.straight import StraightLaw

if TYPE_CHECKING:
    from initcheck.signal.law import Law

__all__ = ["LAWS"]

LAWS: dict[Op, Law] = {
    Op.LINEAR: LinearLaw(),
    Op.CONV: ConvolutionLaw(),
    Op.CONV_TRANSPOSE: TransposedConvolutionLaw(),
    Op.EMBEDDING: EmbeddingLaw(),
    Op.RECURRENT: RecurrentLaw(),
    Op.OPAQUE: OpaqueLaw(),
    Op.MATMUL: MatmulLaw(),
    Op.ADD: SumLaw(1.0),
    Op.SUB: SumLaw(-1.0),
    Op.MUL: ProductLaw(),
    Op.DIV: QuotientLaw(),
    Op.MAXIMUM: ExtremeLaw(Op.MAXIMUM),
    Op.MINIMUM: ExtremeLaw(Op.MINIMUM),
    Op.WHERE: WhereLaw(),
    Op.ELEMENTWISE: ElementwiseLaw(),
    Op.SOFTMAX: SoftmaxLaw(),
    Op.ATTENTION: AttentionLaw(),
    Op.NORMALIZE: NormalizeLaw(),
    Op.DROPOUT: DropoutLaw(),
    Op.POOL_AVERAGE: AveragePoolLaw(),
    Op.POOL_MAX: MaxPoolLaw(),
    Op.REDUCE: ReduceLaw(),
    Op.CONCAT: ConcatLaw(),
    Op.SPLIT: SplitLaw(),
    Op.SLICE: SliceLaw(),
    Op.PAD: PadLaw(),
    Op.RESIZE: ResizeLaw(),
    Op.RESHAPE: ReshapeLaw(),
    Op.TRANSPOSE: TransposeLaw(),
    Op.EXPAND: ExpandLaw(),
    Op.IDENTITY: IdentityLaw(),
    Op.CUMULATE: CumulateLaw(),
    Op.TOP_K: TopKLaw(),
    Op.SCATTER: ScatterLaw(),
    Op.STRAIGHT: StraightLaw(),
    Op.RANDOM: RandomLaw(),
    Op.REAL: RealLaw(),
}
"""Operation -> law."""
