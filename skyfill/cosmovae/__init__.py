"""CosmoVAE as published (Yi et al. 2020, arXiv:2001.11651), to be repeated and compared.

It knows squares of pixels, as `skyfill.vae` does, and learns from the tiles of `skyfill.dataset`.
"""

from skyfill.cosmovae.filler import CosmoFiller
from skyfill.cosmovae.network import CosmoArchitecture, CosmoVAE, Encoding
from skyfill.cosmovae.recipe import CosmoConfig
from skyfill.cosmovae.training import train
from skyfill.cosmovae.vgg import load_vgg
from skyfill.cosmovae.weights import load, save, shipped

__all__ = [
    "CosmoArchitecture",
    "CosmoConfig",
    "CosmoFiller",
    "CosmoVAE",
    "Encoding",
    "load",
    "load_vgg",
    "save",
    "shipped",
    "train",
]
