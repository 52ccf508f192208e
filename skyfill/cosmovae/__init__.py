"""CosmoVAE as published (Yi et al. 2020, arXiv:2001.11651), to be repeated and compared."""

from skyfill.cosmovae.network import CosmoArchitecture, CosmoVAE, Encoding

__all__ = ["CosmoArchitecture", "CosmoVAE", "Encoding"]
