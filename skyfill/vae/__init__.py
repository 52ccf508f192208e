"""Fill tiles with a conditional variational autoencoder. The only room that knows torch.

It knows squares of pixels and their spectrum, not the sphere: `skyfill.inpaint` cuts the tiles.
"""

from skyfill.vae.filler import TileFiller, pick_device
from skyfill.vae.network import TileVAE
from skyfill.vae.unet import Architecture
from skyfill.vae.weights import DEFAULT, ModelCard, load, save, shipped

__all__ = [
    "DEFAULT",
    "Architecture",
    "ModelCard",
    "TileFiller",
    "TileVAE",
    "load",
    "pick_device",
    "save",
    "shipped",
]
