"""Other published networks that fill tiles, for comparison with CosmoVAE and with the optimum.

``pconv``: the U-Net of partial convolutions (Liu et al. 2018, arXiv:1804.07723). ``vaeac``: the
variational autoencoder with arbitrary conditioning (Ivanov et al. 2019, arXiv:1806.02382).
``context-encoder``: the context encoder (Pathak et al. 2016, arXiv:1604.07379). They are trained as
`skyfill.cosmovae` is, on the same tiles and masks. No weights are shipped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyfill.lazy import on_first_use

if TYPE_CHECKING:
    from skyfill.baselines.card import MODELS as MODELS
    from skyfill.baselines.card import read_card as read_card
    from skyfill.baselines.contextencoder import ContextEncoder as ContextEncoder
    from skyfill.baselines.filler import BaselineFiller as BaselineFiller
    from skyfill.baselines.partialconv import PartialConv as PartialConv
    from skyfill.baselines.partialconv import PConvNet as PConvNet
    from skyfill.baselines.recipe import BaselineConfig as BaselineConfig
    from skyfill.baselines.size import Size as Size
    from skyfill.baselines.training import train as train
    from skyfill.baselines.vaeac import VAEAC as VAEAC
    from skyfill.baselines.weights import load as load
    from skyfill.baselines.weights import save as save

# name -> the module that defines it
_HOMES = {
    "MODELS": "card",
    "read_card": "card",
    "ContextEncoder": "contextencoder",
    "BaselineFiller": "filler",
    "PConvNet": "partialconv",
    "PartialConv": "partialconv",
    "BaselineConfig": "recipe",
    "Size": "size",
    "train": "training",
    "VAEAC": "vaeac",
    "load": "weights",
    "save": "weights",
}

__all__ = [*_HOMES]

if not TYPE_CHECKING:  # hidden from type checkers, which otherwise would accept any name
    __getattr__ = on_first_use(__name__, _HOMES)

    def __dir__() -> list[str]:
        return sorted([*globals(), *__all__])
