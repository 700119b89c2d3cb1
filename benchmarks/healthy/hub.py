"""Models of ``transformers`` at the initialisation of their own code, tiny and in their published sizes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn

TEXT = {
    "vocab_size": 256,
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 128,
}
GROUPED = {**TEXT, "num_key_value_heads": 2}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
IMAGE = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "image_size": 32,
}
SEQUENCE = {
    "d_model": 64,
    **dict.fromkeys(("encoder_layers", "decoder_layers"), 3),
    **dict.fromkeys(("encoder_attention_heads", "decoder_attention_heads"), 4),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 128),
}
B0 = {"width_coefficient": 1.0, "depth_coefficient": 1.0, "image_size": 224, "hidden_dim": 1280}
STAGES = {"depths": [2, 2, 2, 2], "hidden_sizes": [16, 32, 48, 64]}


def hub(config: str, model: str, **options: Any) -> Callable[[], nn.Module]:
    """A factory that imports ``transformers`` when it is called."""

    def build() -> nn.Module:
        import transformers

        module: nn.Module = getattr(transformers, model)(getattr(transformers, config)(**options))
        return module

    return build


def llama(width: int, layers: int, heads: int, groups: int, hidden: int, words: int = 32000) -> Callable[[], nn.Module]:
    return hub(
        "LlamaConfig",
        "LlamaForCausalLM",
        vocab_size=words,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=groups,
        intermediate_size=hidden,
    )


TINY: dict[str, Callable[[], nn.Module]] = {
    "gpt2_tiny": hub("GPT2Config", "GPT2LMHeadModel", vocab_size=256, n_embd=64, n_layer=4, n_head=4, n_positions=64),
    "bert_tiny": hub("BertConfig", "BertForMaskedLM", **TEXT),
    "roberta_tiny": hub("RobertaConfig", "RobertaForMaskedLM", **TEXT),
    "electra_tiny": hub("ElectraConfig", "ElectraForPreTraining", embedding_size=32, **TEXT),
    "albert_tiny": hub("AlbertConfig", "AlbertForMaskedLM", embedding_size=32, **TEXT),
    "deberta_v2_tiny": hub("DebertaV2Config", "DebertaV2ForMaskedLM", **TEXT),
    "mistral_tiny": hub("MistralConfig", "MistralForCausalLM", **GROUPED),
    "mixtral_tiny": hub("MixtralConfig", "MixtralForCausalLM", num_local_experts=4, **GROUPED),
    "qwen2_tiny": hub("Qwen2Config", "Qwen2ForCausalLM", **GROUPED),
    "qwen3_tiny": hub("Qwen3Config", "Qwen3ForCausalLM", head_dim=16, **GROUPED),
    "gemma_tiny": hub("GemmaConfig", "GemmaForCausalLM", head_dim=16, pad_token_id=0, **GROUPED),
    "gemma2_tiny": hub("Gemma2Config", "Gemma2ForCausalLM", head_dim=16, pad_token_id=0, **GROUPED),
    "phi_tiny": hub("PhiConfig", "PhiForCausalLM", **TEXT),
    "olmo2_tiny": hub("Olmo2Config", "Olmo2ForCausalLM", pad_token_id=0, eos_token_id=1, **TEXT),
    "opt_tiny": hub(
        "OPTConfig",
        "OPTForCausalLM",
        vocab_size=256,
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        ffn_dim=128,
        word_embed_proj_dim=64,
    ),
    "bloom_tiny": hub("BloomConfig", "BloomForCausalLM", vocab_size=256, hidden_size=64, n_layer=4, n_head=4),
    "gpt_neox_tiny": hub("GPTNeoXConfig", "GPTNeoXForCausalLM", **TEXT),
    "falcon_tiny": hub("FalconConfig", "FalconForCausalLM", **TEXT),
    "mamba_tiny": hub("MambaConfig", "MambaForCausalLM", vocab_size=256, hidden_size=64, num_hidden_layers=4),
    "t5_tiny": hub(
        "T5Config",
        "T5ForConditionalGeneration",
        vocab_size=256,
        d_model=64,
        d_kv=16,
        d_ff=128,
        num_layers=3,
        num_heads=4,
    ),
    "bart_tiny": hub("BartConfig", "BartForConditionalGeneration", vocab_size=256, **SEQUENCE),
    "whisper_tiny": hub(
        "WhisperConfig",
        "WhisperForConditionalGeneration",
        vocab_size=256,
        num_mel_bins=16,
        max_source_positions=50,
        max_target_positions=32,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=1,
        **SEQUENCE,
    ),
    "wav2vec2_tiny": hub(
        "Wav2Vec2Config",
        "Wav2Vec2ForCTC",
        conv_dim=[32, 32, 32],
        conv_stride=[5, 2, 2],
        conv_kernel=[10, 3, 3],
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        **{**TEXT, "vocab_size": 32},
    ),
    "clip_tiny": hub(
        "CLIPConfig", "CLIPModel", text_config=TEXT, vision_config={**IMAGE, "patch_size": 8}, projection_dim=32
    ),
    "vit_tiny": hub("ViTConfig", "ViTForImageClassification", patch_size=8, **IMAGE),
    "deit_tiny": hub("DeiTConfig", "DeiTForImageClassification", patch_size=8, **IMAGE),
    "beit_tiny": hub("BeitConfig", "BeitForImageClassification", patch_size=8, **IMAGE),
    "dinov2_tiny": hub("Dinov2Config", "Dinov2ForImageClassification", **{**IMAGE, "image_size": 28, "patch_size": 14}),
    "swin_tiny_config": hub(
        "SwinConfig",
        "SwinForImageClassification",
        image_size=64,
        embed_dim=32,
        depths=[2, 2],
        num_heads=[2, 4],
        window_size=4,
    ),
    "convnext_tiny_config": hub("ConvNextConfig", "ConvNextForImageClassification", image_size=64, **STAGES),
    "segformer_tiny": hub(
        "SegformerConfig",
        "SegformerForSemanticSegmentation",
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=32,
        **STAGES,
    ),
    "poolformer_tiny": hub("PoolFormerConfig", "PoolFormerForImageClassification", **STAGES),
    "hub_resnet_tiny": hub("ResNetConfig", "ResNetForImageClassification", embedding_size=16, **STAGES),
    "mamba2_tiny": hub(
        "Mamba2Config",
        "Mamba2ForCausalLM",
        vocab_size=256,
        hidden_size=64,
        num_hidden_layers=4,
        num_heads=8,
        head_dim=16,
        state_size=16,
        n_groups=1,
        chunk_size=16,
    ),
    "bamba_tiny": hub(
        "BambaConfig",
        "BambaForCausalLM",
        attn_layer_indices=[1],
        mamba_n_heads=8,
        mamba_d_head=16,
        mamba_d_state=16,
        mamba_n_groups=1,
        mamba_chunk_size=16,
        **SPECIAL,
        **GROUPED,
    ),
    "deepseek_v3_tiny": hub(
        "DeepseekV3Config",
        "DeepseekV3ForCausalLM",
        num_key_value_heads=4,
        q_lora_rank=32,
        kv_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=16,
        v_head_dim=16,
        n_routed_experts=4,
        n_group=2,
        topk_group=1,
        num_experts_per_tok=2,
        moe_intermediate_size=32,
        first_k_dense_replace=1,
        n_shared_experts=1,
        **TEXT,
    ),
    "cohere_tiny": hub("CohereConfig", "CohereForCausalLM", **SPECIAL, **GROUPED),
    "modernbert_tiny": hub("ModernBertConfig", "ModernBertForMaskedLM", **SPECIAL, **TEXT),
    "mobilebert_tiny": hub(
        "MobileBertConfig",
        "MobileBertForMaskedLM",
        embedding_size=32,
        intra_bottleneck_size=32,
        true_hidden_size=32,
        **TEXT,
    ),
    "fnet_tiny": hub("FNetConfig", "FNetForMaskedLM", vocab_size=256, hidden_size=64, num_hidden_layers=4),
    "perceiver_tiny": hub(
        "PerceiverConfig",
        "PerceiverForMaskedLM",
        vocab_size=256,
        d_model=64,
        d_latents=64,
        num_latents=16,
        num_self_attends_per_block=2,
        num_self_attention_heads=4,
        num_cross_attention_heads=4,
        max_position_embeddings=64,
    ),
    "vilt_tiny": hub("ViltConfig", "ViltForQuestionAnswering", vocab_size=256, patch_size=8, **IMAGE),
    "ast_tiny": hub(
        "ASTConfig",
        "ASTForAudioClassification",
        num_mel_bins=32,
        max_length=64,
        hidden_size=64,
        num_hidden_layers=4,
        num_attention_heads=4,
        intermediate_size=128,
    ),
    "dinov3_tiny": hub("DINOv3ViTConfig", "DINOv3ViTModel", patch_size=8, **IMAGE),
    "hiera_tiny": hub(
        "HieraConfig",
        "HieraForImageClassification",
        image_size=[64, 64],
        embed_dim=32,
        depths=[1, 2, 2, 1],
        num_heads=[1, 2, 4, 8],
    ),
    "glpn_tiny": hub(
        "GLPNConfig",
        "GLPNForDepthEstimation",
        depths=[1, 1, 1, 1],
        hidden_sizes=[16, 32, 48, 64],
        num_attention_heads=[1, 2, 3, 4],
        decoder_hidden_size=32,
    ),
    "patchtst_tiny": hub(
        "PatchTSTConfig",
        "PatchTSTForPrediction",
        num_input_channels=3,
        context_length=64,
        patch_length=8,
        patch_stride=8,
        d_model=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        ffn_dim=128,
        prediction_length=16,
    ),
    "pegasus_tiny": hub("PegasusConfig", "PegasusForConditionalGeneration", vocab_size=256, **SEQUENCE),
    "regnet_tiny": hub("RegNetConfig", "RegNetForImageClassification", embedding_size=16, groups_width=8, **STAGES),
}
"""A few narrow blocks each."""

FULL: dict[str, Callable[[], nn.Module]] = {
    "gpt2": hub("GPT2Config", "GPT2LMHeadModel"),
    "gpt2_xl": hub("GPT2Config", "GPT2LMHeadModel", n_embd=1600, n_layer=48, n_head=25),
    "bert_base": hub("BertConfig", "BertForMaskedLM"),
    "bert_large": hub(
        "BertConfig",
        "BertForMaskedLM",
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
    ),
    "roberta_base": hub("RobertaConfig", "RobertaForMaskedLM"),
    "llama_7b": llama(4096, 32, 32, 32, 11008),
    "llama_70b": llama(8192, 80, 64, 8, 28672),
    "mistral_7b": hub("MistralConfig", "MistralForCausalLM"),
    "qwen2_7b": hub("Qwen2Config", "Qwen2ForCausalLM"),
    "gemma2_9b": hub("Gemma2Config", "Gemma2ForCausalLM"),
    "t5_small": hub("T5Config", "T5ForConditionalGeneration"),
    "bart_large": hub("BartConfig", "BartForConditionalGeneration"),
    "opt_125m": hub("OPTConfig", "OPTForCausalLM"),
    "vit_base": hub("ViTConfig", "ViTForImageClassification"),
    "vit_large": hub(
        "ViTConfig",
        "ViTForImageClassification",
        hidden_size=1024,
        num_hidden_layers=24,
        num_attention_heads=16,
        intermediate_size=4096,
    ),
    "deit_base": hub("DeiTConfig", "DeiTForImageClassification"),
    "swin_base": hub("SwinConfig", "SwinForImageClassification"),
    "convnext_tiny": hub("ConvNextConfig", "ConvNextForImageClassification"),
    "dinov2_base": hub("Dinov2Config", "Dinov2Model"),
    "clip_vit_b32": hub("CLIPConfig", "CLIPModel"),
    "wav2vec2_base": hub("Wav2Vec2Config", "Wav2Vec2ForCTC"),
    "segformer_b0": hub("SegformerConfig", "SegformerForSemanticSegmentation"),
    "hub_resnet50": hub("ResNetConfig", "ResNetForImageClassification"),
}
"""Published sizes, or those of the configuration's defaults; their weights are never made."""

DISPUTED: dict[str, Callable[[], nn.Module]] = {
    "mobilevit": hub("MobileViTConfig", "MobileViTForImageClassification"),
    "hub_efficientnet": hub("EfficientNetConfig", "EfficientNetForImageClassification", **B0),
    "hub_mobilenet_v2": hub("MobileNetV2Config", "MobileNetV2ForImageClassification"),
}
"""Drawn with 0.02 whatever the fan-in: the signal is lost in the epsilon of batch normalisation."""
