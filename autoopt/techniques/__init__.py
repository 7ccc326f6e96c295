"""Everything that changes a network, by slot and option; listing imports nothing.

A new technique is one file here and one line in the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from autoopt.errors import UnknownNameError
from autoopt.interfaces import load_class

TECHNIQUES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "student": MappingProxyType(
            {
                "none": "unchanged:Unchanged",
                "width": "students:WidthStudent",
                "depth": "students:DepthStudent",
                "width_depth": "students:WidthDepthStudent",
                "fresh": "students:FreshStudent",
            }
        ),
        "pruning": MappingProxyType(
            {
                "none": "unchanged:Unchanged",
                "magnitude": "channel_pruning:MagnitudePruning",
                "channels": "structured:ChannelPruning",
                "stages": "stages:StagePruning",
                "heads": "structured:HeadPruning",
                "feed_forward": "structured:FeedForwardPruning",
                "recurrent": "structured:RecurrentPruning",
                "blocks": "block_pruning:BlockPruning",
                "regrow": "regrow:Regrow",
                "sparse": "sparse:SparsePruning",
                "pattern": "sparse:PatternPruning",
                "soft_threshold": "soft_threshold:SoftThreshold",
                "rounded": "rounded:RoundedWeights",
            }
        ),
        "factorization": MappingProxyType(
            {
                "none": "unchanged:Unchanged",
                "svd": "low_rank:Svd",
                "svd_energy": "low_rank:SvdEnergy",
                "activation_svd": "low_rank:ActivationSvd",
                "tied": "tied:TiedLayers",
            }
        ),
        "recovery": MappingProxyType(
            {
                "none": "unchanged:Unchanged",
                "recalibrate": "recalibrate:Recalibrate",
                "finetune": "finetune:FineTune",
                "finetune_parallel": "finetune_parallel:DataParallelFineTune",
                "distill": "distill:Distill",
                "qat": "qat:QuantizationAwareTraining",
                "distill_logits": "distill_logits:DistillLogits",
                "distill_features": "distill_inside:DistillFeatures",
                "distill_attention": "distill_inside:DistillAttention",
                "distill_ensemble": "distill_ensemble:DistillEnsemble",
                "distill_reversed": "distill_reversed:DistillReversed",
            }
        ),
        "quantization": MappingProxyType(
            {
                "float32": "quantization:Float32",
                "bfloat16": "quantization:BFloat16",
                "float16": "quantization:Float16",
                "static_int8": "quantization:StaticInt8",
                "calibrated_int8": "quantization:StaticInt8",
                "dynamic_int8": "quantization:DynamicInt8",
                "weight_only": "quantization_stored:WeightOnly",
                "packed": "quantization_stored:WeightOnly",
                "codebook": "quantization_stored:Codebook",
                "binary": "quantization_stored:Binary",
                "mixed": "quantization_stored:MixedPrecision",
                "budgeted": "quantization_stored:BitBudget",
                "per_layer": "quantization_stored:PerLayer",
                "fp8": "quantization_cuda:Fp8",
                "int4": "quantization_cuda:Int4",
            }
        ),
        "parallel": MappingProxyType(
            {
                "default": "parallel:Default",
                "tuned": "parallel:Tuned",
                "inter_op": "parallel:InterOp",
                "processes": "parallel:Processes",
                "batching": "parallel:Batching",
                "pipeline": "parallel:Pipeline",
                "tensor": "parallel:TensorParallel",
            }
        ),
    }
)


def load_technique(slot: str, option: str) -> Any:
    """Return the class of one option, importing its module now.

    Raises
    ------
    UnknownNameError
        If there is no such slot, or no such option in it.
    """
    if slot not in TECHNIQUES:
        raise UnknownNameError("slot", slot, TECHNIQUES)
    return load_class(f"{slot} technique", __name__, TECHNIQUES[slot], option)
