"""Fill the holes of a HEALPix sky map.

The most used names are here (`skyfill.read_map`); others are in their packages
(`skyfill.tiling.cut`). Names are imported on first use: ``import skyfill`` loads neither numpy nor
healpy, numba or torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from skyfill.lazy import keep_names

if TYPE_CHECKING:  # `name as name` marks a re-export for type checkers
    from skyfill import baselines as baselines
    from skyfill import batch as batch
    from skyfill import cosmovae as cosmovae
    from skyfill import dataset as dataset
    from skyfill import diffuse as diffuse
    from skyfill import fidelity as fidelity
    from skyfill import flatsky as flatsky
    from skyfill import gaussian as gaussian
    from skyfill import harmonics as harmonics
    from skyfill import healpix as healpix
    from skyfill import holes as holes
    from skyfill import images as images
    from skyfill import inpaint as inpaint
    from skyfill import maps as maps
    from skyfill import mosaic as mosaic
    from skyfill import posterior as posterior
    from skyfill import prior as prior
    from skyfill import progress as progress
    from skyfill import report as report
    from skyfill import spectra as spectra
    from skyfill import tiling as tiling
    from skyfill import vae as vae
    from skyfill.cosmovae import tilefill as tilefill
    from skyfill.dataset import owntiles as owntiles
    from skyfill.fidelity import optimum as optimum
    from skyfill.files.atomic import check_writable as check_writable
    from skyfill.holes import Holes as Holes
    from skyfill.holes import discs as discs
    from skyfill.holes import distance_to_edge as distance_to_edge
    from skyfill.holes import enclosed_holes as enclosed_holes
    from skyfill.holes import fill_islands as fill_islands
    from skyfill.holes import find_holes as find_holes
    from skyfill.holes import galactic_cut as galactic_cut
    from skyfill.holes import grow as grow
    from skyfill.holes import label_holes as label_holes
    from skyfill.holes import masks as masks
    from skyfill.holes import read_catalogue as read_catalogue
    from skyfill.holes import read_mask as read_mask
    from skyfill.holes import read_weights as read_weights
    from skyfill.holes import regrade_mask as regrade_mask
    from skyfill.holes import rotate_mask as rotate_mask
    from skyfill.inpaint import Inpainter as Inpainter
    from skyfill.inpaint import fill as fill
    from skyfill.inpaint import methods as methods
    from skyfill.inpaint import plan as plan
    from skyfill.maps import MapInfo as MapInfo
    from skyfill.maps import SkyMap as SkyMap
    from skyfill.maps import describe as describe
    from skyfill.maps import read_map as read_map
    from skyfill.maps import write_filled as write_filled
    from skyfill.maps import write_map as write_map
    from skyfill.maps.noise import read_noise as read_noise
    from skyfill.prior import Prior as Prior
    from skyfill.prior import gaussian_beam as gaussian_beam
    from skyfill.prior import lcdm as lcdm
    from skyfill.prior import read_cl as read_cl
    from skyfill.prior import simulate as simulate
    from skyfill.prior.simulate import simulate_mask as simulate_mask
    from skyfill.prior.simulate import simulate_sky as simulate_sky
    from skyfill.progress import Progress as Progress
    from skyfill.progress import Silent as Silent
    from skyfill.report import pictures as pictures
    from skyfill.spectra import SpectrumComparison as SpectrumComparison
    from skyfill.tiling import Layout as Layout
    from skyfill.tiling import blending as blending
    from skyfill.tiling import read_tile as read_tile
    from skyfill.tiling import write_tile as write_tile

    __version__: str

# name -> the package that defines it; a package is listed with itself. No name may equal that of a
# package: importing the package would replace the name by the module.
_HOMES = {
    "Progress": "progress",
    "Silent": "progress",
    # files
    "check_writable": "files.atomic",
    "MapInfo": "maps",
    "SkyMap": "maps",
    "describe": "maps",
    "read_map": "maps",
    "read_noise": "maps.noise",
    "write_filled": "maps",
    "write_map": "maps",
    # holes
    "Holes": "holes",
    "discs": "holes",
    "distance_to_edge": "holes",
    "enclosed_holes": "holes",
    "fill_islands": "holes",
    "find_holes": "holes",
    "galactic_cut": "holes",
    "grow": "holes",
    "label_holes": "holes",
    "read_catalogue": "holes",
    "read_mask": "holes",
    "read_weights": "holes",
    "regrade_mask": "holes",
    "rotate_mask": "holes",
    # filling
    "Inpainter": "inpaint",
    "fill": "inpaint",
    # tiles
    "Layout": "tiling",
    "read_tile": "tiling",
    "write_tile": "tiling",
    # statistics of the sky
    "Prior": "prior",
    "SpectrumComparison": "spectra",
    "gaussian_beam": "prior",
    "lcdm": "prior",
    "read_cl": "prior",
    "simulate_mask": "prior.simulate",
    "simulate_sky": "prior.simulate",
}
_ROOMS = (
    "baselines",
    "batch",
    "cosmovae",
    "dataset",
    "diffuse",
    "fidelity",
    "flatsky",
    "gaussian",
    "harmonics",
    "healpix",
    "holes",
    "images",
    "inpaint",
    "maps",
    "mosaic",
    "posterior",
    "prior",
    "progress",
    "report",
    "spectra",
    "tiling",
    "vae",
)
# Further names of modules: `skyfill.masks` is the module `skyfill.holes.masks`, also for `import`
# and `from ... import`.
_MODULES = {
    "blending": "tiling.blending",
    "masks": "holes.masks",
    "methods": "inpaint.methods",
    "optimum": "fidelity.optimum",
    "owntiles": "dataset.owntiles",
    "pictures": "report.pictures",
    "plan": "inpaint.plan",
    "simulate": "prior.simulate",
    "tilefill": "cosmovae.tilefill",
}

__all__ = [*_HOMES, *_ROOMS, *_MODULES]

keep_names({f"skyfill.{name}": f"skyfill.{home}" for name, home in _MODULES.items()})

if not TYPE_CHECKING:  # hidden from type checkers, which otherwise would accept any name

    def __getattr__(name: str) -> object:
        """Import the package of ``name`` on first use."""
        from importlib import import_module

        value: object
        if name == "__version__":
            value = _version()
        elif name in _HOMES:
            value = getattr(import_module(f"skyfill.{_HOMES[name]}"), name)
        elif name in _ROOMS:
            value = import_module(f"skyfill.{name}")
        elif name in _MODULES:
            value = import_module(f"skyfill.{_MODULES[name]}")
        else:
            raise AttributeError(f"module 'skyfill' has no attribute {name!r}")
        globals()[name] = value
        return value

    def _version() -> str:
        """Give the installed version; for a source tree that is not installed, say so."""
        import tomllib
        from importlib import metadata
        from pathlib import Path

        try:
            return metadata.version("skyfill")
        except metadata.PackageNotFoundError:
            pass
        try:
            with (Path(__file__).parents[1] / "pyproject.toml").open("rb") as file:
                return f"{tomllib.load(file)['project']['version']}+source"
        # the package was copied without its project
        except (OSError, KeyError, tomllib.TOMLDecodeError):
            return "0+unknown"

    def __dir__() -> list[str]:
        return sorted([*__all__, "__version__"])
