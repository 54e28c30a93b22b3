"""The public SeqFormer on a CPU, with random weights, from a checkout of its repository."""

from __future__ import annotations

import argparse
import sys
import types
from pathlib import Path
from typing import Any

OPTIONS = {  # those that its model reads, at its defaults and those of its script for ResNet-50
    "dataset_file": "YoutubeVIS", "device": "cpu", "masks": True, "with_box_refine": True, "rel_coord": True,
    "backbone": "resnet50", "dilation": False, "position_embedding": "sine", "lr_backbone": 2e-5,
    "num_feature_levels": 4, "enc_layers": 6, "dec_layers": 6, "dim_feedforward": 1024, "hidden_dim": 256,
    "dropout": 0.1, "nheads": 8,
    "num_queries": 300, "dec_n_points": 4, "enc_n_points": 4, "mask_out_stride": 4, "aux_loss": True, "num_frames": 1,
    "set_cost_class": 2, "set_cost_bbox": 5, "set_cost_giou": 2, "mask_loss_coef": 2, "dice_loss_coef": 5,
    "cls_loss_coef": 2, "bbox_loss_coef": 5, "giou_loss_coef": 2, "focal_alpha": 0.25, "jointfinetune": False,
}  # fmt: skip


def build(directory: Path, **options: Any) -> tuple[Any, Any]:
    """Model and criterion with random weights, equal in every process.

    Its attention runs in its pure PyTorch form, without its CUDA extension; its test of old torchvision versions is
    avoided, and no weights are downloaded.

    Args:
        directory: The checkout.
        options: In place of those in `OPTIONS`.
    """
    import torch
    import torchvision

    sys.path.insert(0, str(directory))
    sys.modules["MultiScaleDeformableAttention"] = types.ModuleType("MultiScaleDeformableAttention")
    version, torchvision.__version__ = torchvision.__version__, "0.9"
    import models
    import models.ops.functions.ms_deform_attn_func as attention
    import models.ops.modules.ms_deform_attn as module

    torchvision.__version__ = version

    def sample(values: Any, shapes: Any, _start: Any, locations: Any, weights: Any, _step: int) -> Any:
        return attention.ms_deform_attn_core_pytorch(values, shapes.tolist(), locations, weights)

    module.MSDeformAttnFunction = types.SimpleNamespace(apply=sample)
    torch.manual_seed(0)
    resnet = torchvision.models.resnet50
    torchvision.models.resnet50 = lambda pretrained, **keys: resnet(**keys)
    model, criterion, _ = models.build_model(argparse.Namespace(**OPTIONS | options))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("sampling_offsets.weight", "attention_weights.weight")):
                parameter.normal_(0, 0.02)
    return model, criterion
