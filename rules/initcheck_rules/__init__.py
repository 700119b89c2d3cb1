"""The built-in rules of initcheck; ``RULES`` is what the entry point names."""

from __future__ import annotations

from initcheck_rules.ini101_vanishing_signal import VanishingSignal
from initcheck_rules.ini102_exploding_signal import ExplodingSignal
from initcheck_rules.ini103_wrong_fan import WrongFan
from initcheck_rules.ini104_shifted_weights import ShiftedWeights
from initcheck_rules.ini105_input_collapse import InputCollapse
from initcheck_rules.ini106_range_overflow import RangeOverflow
from initcheck_rules.ini201_residual_explosion import ResidualExplosion
from initcheck_rules.ini202_unscaled_residual_projections import UnscaledResidualProjections
from initcheck_rules.ini203_post_norm_depth import PostNormDepth
from initcheck_rules.ini204_branch_dominates import BranchDominates
from initcheck_rules.ini301_width_reciprocal_sum import WidthReciprocalSum
from initcheck_rules.ini302_dead_width import DeadWidth
from initcheck_rules.ini401_non_finite_weight import NonFiniteWeight
from initcheck_rules.ini402_zero_weight_cuts_signal import ZeroWeightCutsSignal
from initcheck_rules.ini403_unbroken_symmetry import UnbrokenSymmetry
from initcheck_rules.ini404_dead_units import DeadUnits
from initcheck_rules.ini405_scale_outlier import ScaleOutlier
from initcheck_rules.ini407_identical_draws import IdenticalDraws
from initcheck_rules.ini408_dead_product import DeadProduct
from initcheck_rules.ini501_vanishing_gradient import VanishingGradient
from initcheck_rules.ini502_exploding_gradient import ExplodingGradient
from initcheck_rules.ini503_saturated_activations import SaturatedActivations
from initcheck_rules.ini504_attention_logits import AttentionLogits
from initcheck_rules.ini505_rank_collapse import RankCollapse
from initcheck_rules.ini506_first_loss import FirstLoss
from initcheck_rules.ini601_unwritten_parameter import UnwrittenParameter
from initcheck_rules.ini602_deferred_init_differs import DeferredInitDiffers
from initcheck_rules.ini603_overwritten_init import OverwrittenInit
from initcheck_rules.ini901_unanalysed_layer import UnanalysedLayer
from initcheck_rules.ini902_inference_export import InferenceExport
from initcheck_rules.ini903_trained_weights import TrainedWeights
from initcheck_rules.ini904_unused_parameter import UnusedParameter

__all__ = ["RULES"]

RULES = (
    VanishingSignal,
    ExplodingSignal,
    WrongFan,
    ShiftedWeights,
    InputCollapse,
    RangeOverflow,
    ResidualExplosion,
    UnscaledResidualProjections,
    PostNormDepth,
    BranchDominates,
    WidthReciprocalSum,
    DeadWidth,
    NonFiniteWeight,
    ZeroWeightCutsSignal,
    UnbrokenSymmetry,
    DeadUnits,
    ScaleOutlier,
    IdenticalDraws,
    DeadProduct,
    VanishingGradient,
    ExplodingGradient,
    SaturatedActivations,
    AttentionLogits,
    RankCollapse,
    FirstLoss,
    UnwrittenParameter,
    DeferredInitDiffers,
    OverwrittenInit,
    UnanalysedLayer,
    InferenceExport,
    TrainedWeights,
    UnusedParameter,
)
