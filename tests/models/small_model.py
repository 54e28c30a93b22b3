"""Small models for the tests, with the tensors that start at zero filled with small random values on request."""

import torch

from mssts.config import resolve
from mssts.models import build_model


def small_model(variant, seed=0, **changes):
    config = resolve("smoke", variant).model.model_copy(update=changes)
    return build_model(config, "tiny", 5, torch.Generator().manual_seed(seed))


def filled(model, seed=1):
    """The model, each parameter that is all zeros replaced by random values of deviation 0.1."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.1, generator=generator)
    return model


def clips(*shape, seed=2):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def everything(output):
    """All that the losses read, as one list of tensors."""
    tensors = []
    for index, layer in enumerate(output.layers):
        tensors += [layer.logits_BNK, layer.boxes_BTN4]
        queries = torch.arange(layer.logits_BNK.shape[1])
        tensors += [output.mask_logits(index, clip, queries) for clip in range(layer.logits_BNK.shape[0])]
    return tensors
