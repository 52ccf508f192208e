"""Evaluate fills: errors, calibration of their uncertainty, seams, isotropy, one-point statistics.

`score_sky` evaluates filled skies, with or without a truth; `validate` holds out observed pixels as
a truth; `score_tiles` evaluates flat tiles. `THRESHOLDS` give each `Figure` its verdict.
"""

from skyfill.fidelity.bbshare import bb_share
from skyfill.fidelity.calibration import Calibration, calibrate
from skyfill.fidelity.figures import THRESHOLDS, Figure, Threshold, judge
from skyfill.fidelity.heldout import HeldOut, held_out_holes
from skyfill.fidelity.isotropy import LowMultipoles, asymmetries, asymmetry_scatter, multipoles
from skyfill.fidelity.meanings import Meaning, meaning, readable
from skyfill.fidelity.onepoint import OnePoint, one_point
from skyfill.fidelity.priorshare import Differences, prior_share
from skyfill.fidelity.seams import NoEdgeError, border_seams, seams
from skyfill.fidelity.sky import SkyScores, score_sky
from skyfill.fidelity.stokescalibration import StokesCalibration, calibrate_stokes
from skyfill.fidelity.stokessky import StokesScores, score_stokes
from skyfill.fidelity.stokesvalidation import StokesValidation, validate_stokes
from skyfill.fidelity.tail import tail
from skyfill.fidelity.tiles import TileScores, hole_power, score_tiles, ssim
from skyfill.fidelity.validation import Validation, validate

__all__ = [
    "THRESHOLDS",
    "Calibration",
    "Differences",
    "Figure",
    "HeldOut",
    "LowMultipoles",
    "Meaning",
    "NoEdgeError",
    "OnePoint",
    "SkyScores",
    "StokesCalibration",
    "StokesScores",
    "StokesValidation",
    "Threshold",
    "TileScores",
    "Validation",
    "asymmetries",
    "asymmetry_scatter",
    "bb_share",
    "border_seams",
    "calibrate",
    "calibrate_stokes",
    "held_out_holes",
    "hole_power",
    "judge",
    "meaning",
    "multipoles",
    "one_point",
    "prior_share",
    "readable",
    "score_sky",
    "score_stokes",
    "score_tiles",
    "seams",
    "ssim",
    "tail",
    "validate",
    "validate_stokes",
]
