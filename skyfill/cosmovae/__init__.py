"""CosmoVAE as published (Yi et al. 2020, arXiv:2001.11651), for reproduction and comparison.

The network fills square tiles, as `skyfill.vae` does. It is trained on tiles of `skyfill.dataset`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyfill.lazy import on_first_use

if TYPE_CHECKING:
    from skyfill.cosmovae.card import read_card as read_card
    from skyfill.cosmovae.card import shipped as shipped
    from skyfill.cosmovae.filler import CosmoFiller as CosmoFiller
    from skyfill.cosmovae.network import CosmoArchitecture as CosmoArchitecture
    from skyfill.cosmovae.network import CosmoVAE as CosmoVAE
    from skyfill.cosmovae.network import Encoding as Encoding
    from skyfill.cosmovae.recipe import CosmoConfig as CosmoConfig
    from skyfill.cosmovae.training import train as train
    from skyfill.cosmovae.vgg import load_vgg as load_vgg
    from skyfill.cosmovae.weights import load as load
    from skyfill.cosmovae.weights import save as save

# name -> the module that defines it
_HOMES = {
    "read_card": "card",
    "CosmoFiller": "filler",
    "CosmoArchitecture": "network",
    "CosmoVAE": "network",
    "Encoding": "network",
    "CosmoConfig": "recipe",
    "train": "training",
    "load_vgg": "vgg",
    "load": "weights",
    "save": "weights",
    "shipped": "card",
}

__all__ = [*_HOMES]

if not TYPE_CHECKING:  # hidden from type checkers, which otherwise would accept any name
    __getattr__ = on_first_use(__name__, _HOMES)

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__])
