"""Fill tiles with a conditional variational autoencoder, in torch.

The package works on square tiles with a given spectrum, not on the sphere: `skyfill.mosaic` cuts
the tiles. Training is imported on first use, because filling does not need it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyfill.lazy import on_first_use

if TYPE_CHECKING:
    from skyfill.vae import training as training
    from skyfill.vae.card import DEFAULT as DEFAULT
    from skyfill.vae.card import ModelCard as ModelCard
    from skyfill.vae.card import model_of as model_of
    from skyfill.vae.card import read_card as read_card
    from skyfill.vae.card import shipped as shipped
    from skyfill.vae.filler import TileFiller as TileFiller
    from skyfill.vae.filler import pick_device as pick_device
    from skyfill.vae.network import TileVAE as TileVAE
    from skyfill.vae.unet import Architecture as Architecture
    from skyfill.vae.weights import load as load
    from skyfill.vae.weights import save as save

# name -> the module that holds it
_HOMES = {
    "read_card": "card",
    "TileFiller": "filler",
    "pick_device": "filler",
    "TileVAE": "network",
    "Architecture": "unet",
    "DEFAULT": "card",
    "ModelCard": "card",
    "load": "weights",
    "model_of": "card",
    "save": "weights",
    "shipped": "card",
}

__all__ = [*_HOMES, "training"]

if not TYPE_CHECKING:  # hidden from type checkers, which would accept any name otherwise
    __getattr__ = on_first_use(__name__, _HOMES)

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__])
