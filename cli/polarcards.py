"""Record in header cards how a map of polarization was filled."""

from __future__ import annotations

import argparse

import skyfill

from . import records, theory

__all__ = ["cards_of"]


def cards_of(
    args: argparse.Namespace,
    sky: skyfill.maps.StokesMap,
    fitter: skyfill.inpaint.PolarizedInpainter,
) -> dict[str, tuple[str | int | float | bool, str]]:
    """Record in header cards how the map was filled."""
    cards: dict[str, tuple[str | int | float | bool, str]] = {**records.command_cards(args)}
    cards |= records.method_cards(args)
    cards["SFSTOKES"] = (sky.stokes, "filled together")
    if fitter.stochastic and not args.mean:
        cards["SFLIKE"] = (args.fill, "noise in the holes (data) or none (signal)")
    if args.dipole != "marginalise":
        cards["SFDIPOLE"] = (args.dipole, "treatment of monopole and dipole")
    if fitter.prior is not None:
        cards |= _prior_cards(fitter, fitter.prior)
    if fitter.plausibility is not None:
        cards["SFCHECK"] = (fitter.plausibility.verdict, "does the prior fit the observed T?")
    if fitter.power_pol is not None:
        words = "power of the observed Q, U over the prior's"
        cards["SFPOWERP"] = (round(fitter.power_pol, 4), words)
    t, p = fitter.holes[0].mean(), fitter.holes[-1].mean()
    cards["SFFILLED"] = (round(float(t), 6), f"share of {sky.stokes[0]} that is filled")
    cards["SFFILLEP"] = (round(float(p), 6), "share of Q and U that is filled")
    cards |= records.accuracy_cards(fitter.certificates)
    if fitter.card is not None:
        cards["SFMODEL"] = (fitter.card.name, "network of T; P has none")
        cards["SFSHA256"] = (fitter.card.sha256, "sha256 of the weights")
    if fitter.converged is not None:
        cards["SFCONV"] = (fitter.converged, "has the fill converged to its tolerance?")
    return cards


def _prior_cards(
    fitter: skyfill.inpaint.PolarizedInpainter, prior: skyfill.prior.PolarizedPrior
) -> dict[str, tuple[str | int | float | bool, str]]:
    """Record the prior and how well it describes Q and U."""
    cards: dict[str, tuple[str | int | float | bool, str]] = {**theory.cards(prior.temperature)}
    cards["SFNOISEP"] = (float(f"{prior.noise_pol:.6g}"), "[uK arcmin] white noise of Q, of U")
    power = "fitted" if "calibration_pol" in prior.fitted_pol else "as T"
    cards["SFORIGP"] = (f"noise={prior.origin_noise_pol} power={power}", "origin, of Q and U")
    cards["SFCALIBP"] = (round(prior.calibration_of_pol, 5), "factor of the power of EE and BB")
    cards["SFBB"] = (prior.bb_source, "BB of the prior, which the holes share")
    for name, misfit in fitter.quality_pol.items():
        cards[f"SFCHI2{name}"] = (round(misfit.chi2, 1), f"misfit of {name} of the observed sky")
        cards[f"SFDOF{name}"] = (misfit.freedom, "its degrees of freedom")
    return cards
