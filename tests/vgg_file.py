"""Weights of VGG-16's shape, since ImageNet's are not shipped."""

import torch

SHAPES = [(64, 3), (64, 64), (128, 64), (128, 128), (256, 128), (256, 256), (256, 256)]
NUMBERS = (0, 2, 5, 7, 10, 12, 14)


def vgg_state(seed=0):
    """Weights of VGG-16's shape, and of a size that lets signals through."""
    torch.manual_seed(seed)
    state = {}
    for number, (outputs, inputs) in zip(NUMBERS, SHAPES, strict=True):
        scale = (9 * inputs / 2) ** -0.5
        state[f"features.{number}.weight"] = scale * torch.randn(outputs, inputs, 3, 3)
        state[f"features.{number}.bias"] = 0.1 * torch.randn(outputs)
    return state
