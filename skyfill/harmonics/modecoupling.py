"""Compute the coupling of multipoles by a mask, from sums over 3j symbols."""

from __future__ import annotations

from importlib import import_module
from typing import Literal

import ducc0
import numpy as np
from numpy.typing import NDArray

__all__ = ["coupling_library", "coupling_matrix", "stokes_coupling"]

Library = Literal["ducc0", "pymaster"]


def coupling_library() -> Library:
    """Name the library that sums 3j symbols: ducc0. NaMaster gives the same, 200 times slower."""
    return "ducc0"


def coupling_matrix(
    mask_cl: NDArray[np.float64],
    *,
    lmax: int,
    sky_lmax: int | None = None,
    library: Library | None = None,
    threads: int = 0,
) -> NDArray[np.float64]:
    """Give the response of a masked sky's pseudo-spectrum to the sky's spectrum, M of MASTER.

    M_ll' = (2l' + 1) / 4π Σ_k (2k + 1) W_k (l l' k; 0 0 0)² (Hivon et al. 2002, eq. A31). Both
    libraries give the same sums. `coupling` computes them binned, from correlation functions, with
    less memory.

    Parameters
    ----------
    mask_cl
        ``(any,)`` spectrum of the mask, W_k = Σ_m |w_km|² / (2k + 1); zero beyond its end.
    lmax
        Largest multipole of the pseudo-spectrum.
    sky_lmax
        Largest multipole of the sky; ``lmax`` if not given.
    library
        Library that computes the sums: `coupling_library` if None; ``pymaster`` for NaMaster.
    threads
        Number of threads; 0 for all cores.

    Returns
    -------
    ``(lmax + 1, sky_lmax + 1)``; the pseudo-spectrum is not divided by the sky fraction.

    Raises
    ------
    ModuleNotFoundError
        The library is not installed.
    """
    columns = (lmax if sky_lmax is None else sky_lmax) + 1
    if (library or coupling_library()) == "pymaster":
        # NaMaster's matrix is square, with the length of the mask's spectrum.
        padded = np.zeros(max(lmax + 1, columns, mask_cl.size))
        padded[: mask_cl.size] = mask_cl
        whole = import_module("pymaster").get_general_coupling_matrix(padded, 0, 0, 0, 0)
        return np.array(whole[: lmax + 1, :columns])
    out = np.empty((1, lmax + 1, columns))
    ducc0.misc.experimental.coupling_matrix_rect(
        spec=np.ascontiguousarray(mask_cl, dtype=np.float64)[None],
        optype=(0,),
        res=out,
        nthreads=threads,
    )
    return np.asarray(out[0] * (2.0 * np.arange(columns) + 1))


def stokes_coupling(
    mask_cl: NDArray[np.float64],
    *,
    lmax: int,
    sky_lmax: int | None = None,
    threads: int = 0,
) -> NDArray[np.float64]:
    """Give the response of pseudo-spectra of T, E and B to the sky's, behind masks of T and P.

    With the four matrices M⁰⁰, M⁰², M⁺⁺ and M⁻⁻, the pseudo-spectra have the means (Kogut et al.
    2003, appendix A; Louis et al. 2020)

        TT = M⁰⁰ TT,  TE = M⁰² TE,  EE = M⁺⁺ EE + M⁻⁻ BB,
        TB = M⁰² TB,  EB = (M⁺⁺ - M⁻⁻) EB,  BB = M⁻⁻ EE + M⁺⁺ BB.

    Parameters
    ----------
    mask_cl
        ``(3, any)``: spectrum of the mask of T, cross-spectrum of both masks, spectrum of the mask
        of P, each as for `coupling_matrix`.
    lmax, sky_lmax, threads
        As for `coupling_matrix`.

    Returns
    -------
    ``(4, lmax + 1, sky_lmax + 1)``: M⁰⁰, M⁰², M⁺⁺, M⁻⁻.
    """
    columns = (lmax if sky_lmax is None else sky_lmax) + 1
    out = np.zeros((4, lmax + 1, columns))
    ducc0.misc.experimental.coupling_matrix_rect(
        spec=np.ascontiguousarray(mask_cl, dtype=np.float64),
        optype=(0, 1, 4),
        res=out,
        nthreads=threads,
    )
    return np.asarray(out * (2.0 * np.arange(columns) + 1))
