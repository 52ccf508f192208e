"""Measure a network on held-out tiles whose exact posterior mean is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skyfill.vae.network import TileVAE
from skyfill.vae.objective import blending_weight, negative_elbo
from skyfill.vae.recipe import TrainConfig
from skyfill.vae.simulation import FAMILIES, Simulator, Tiles, draw_fields, draw_mask
from skyfill.vae.steps import conjugate_gradient, fit_each

__all__ = ["HeldOut", "held_out", "measure"]

#: Number of tiles per batch.
_BATCH = 30
#: Number of masks on which the weights of the fixed steps before the network are fitted.
_PROBES = 16


@dataclass(frozen=True)
class HeldOut:
    """Tiles that are not used for training.

    Attributes
    ----------
    truth, observed, exact
        ``(n, 1, side, side)``; `exact` is the posterior mean.
    spectrum
        ``(n, side, side // 2 + 1)``.
    weights
        ``(n, steps, terms)``, weights of the fixed steps before the network
        (`skyfill.vae.steps.fit_each`).
    weight
        Weight of each pixel (`blending_weight`).
    draws
        White fields for the samples of the bound, ``(2, n, 1, side, side)``.
    family
        Mask family of each tile.
    nside
        Nside of the map of each tile; None for the user's own tiles.
    """

    truth: Tensor
    observed: Tensor
    exact: Tensor
    spectrum: Tensor
    weights: Tensor
    weight: Tensor
    draws: Tensor
    family: tuple[str, ...]
    nside: tuple[int | None, ...]


def held_out(
    config: TrainConfig,
    *,
    device: torch.device,
    cl: NDArray[np.float64] | None = None,
    tiles: Sequence[Tiles] = (),
) -> HeldOut:
    """Draw the held-out tiles, the same on every device, and solve for their exact means.

    Parameters
    ----------
    config
        Configuration, with the number of tiles per mask family and resolution.
    device
        Device of the tiles.
    cl, tiles
        As for `Simulator`; if tiles are given, they are the held-out ones.
    """
    cpu = torch.device("cpu")
    simulator = Simulator(config, device=cpu, cl=cl)
    generator = torch.Generator().manual_seed(config.seed)
    low, high = (int(math.log2(n)) for n in config.nside)
    every: tuple[int | None, ...] = (None,) if tiles else tuple(2**k for k in range(low, high + 1))
    cells = []
    for i, family in enumerate(FAMILIES):
        for nside in every:
            rng = np.random.default_rng((config.seed, 2, i, nside or 0))
            n, c = config.held_out, config
            masks = np.stack([draw_mask(c.side, c.guard, rng, family) for _ in range(n)])
            if not tiles:
                pairs = [simulator.prior(rng, nside) for _ in range(n)]
                spectrum, domain = (torch.from_numpy(np.stack(p)).float() for p in zip(*pairs))  # noqa: B905
                truth = draw_fields(domain, generator)
            else:
                picked = [tiles[k % len(tiles)] for k in range(n)]
                chosen = np.stack([t[rng.integers(len(t))] / field.rms for t, field in picked])
                truth = torch.from_numpy(chosen).float()[:, None]
                powers = np.stack([field.spectrum for _, field in picked])
                spectrum = torch.from_numpy(powers).float()
            observed = torch.from_numpy(masks).float()[:, None]
            cells.append([part.to(device) for part in (truth, observed, spectrum)])
    exact = [_exact(*cell) for cell in cells]
    truth, observed, spectrum = (torch.cat(part) for part in zip(*cells, strict=True))
    draws = torch.randn(2, *truth.shape, generator=generator).to(device)
    labels = [(family, nside) for family in FAMILIES for nside in every]
    labels = [label for label in labels for _ in range(config.held_out)]
    rng = np.random.default_rng((config.seed, 3))
    probes = np.stack([draw_mask(config.side, config.guard, rng) for _ in range(_PROBES)])
    weights = fit_each(
        torch.from_numpy(probes).to(spectrum)[:, None],
        spectrum,
        iterations=config.architecture.warm,
    )
    return HeldOut(
        truth,
        observed,
        torch.cat(exact),
        spectrum,
        weights,
        blending_weight(config.side, config.guard, device=device),
        draws,
        tuple(label[0] for label in labels),
        tuple(label[1] for label in labels),
    )


def _exact(truth: Tensor, observed: Tensor, spectrum: Tensor) -> Tensor:
    """Solve for the posterior mean, in double precision if the device supports it."""
    dtype = torch.float32 if truth.device.type == "mps" else torch.float64
    tile, mask, power = (part.to(dtype) for part in (truth, observed, spectrum))
    mean = conjugate_gradient(tile, mask, power, iterations=400, tolerance=1e-6)
    return mean.to(truth.dtype)


def measure(network: TileVAE, tiles: HeldOut) -> dict[str, Any]:
    """Measure the errors of a network in holes, in units of the prior's variance, and its bound.

    Returns
    -------
    ``prior``, ``floor`` and ``network``: squared error of a zero fill, of the exact mean and of the
    network. ``excess``: network / floor - 1. ``distance``: squared distance of the network to the
    exact mean. ``reconstruction`` and ``kl``: the terms of `objective.Elbo`. ``by_mask`` and, for
    simulated tiles, ``by_nside``: floor, excess and distance by mask family and by Nside.
    """
    answers, bounds = [], []
    for first in range(0, len(tiles.truth), _BATCH):
        at = slice(first, first + _BATCH)
        with torch.no_grad():
            seen = tiles.observed[at]
            data = tiles.truth[at] * seen, seen, tiles.spectrum[at], tiles.weights[at]
            answers.append(network(*data))
            posterior = network.encode(*data)
            bound = negative_elbo(posterior, posterior.sample(*tiles.draws[:, at]))
        bounds.append(len(data[0]) * torch.stack([bound.reconstruction, bound.kl]))
    weight = (1 - tiles.observed) * tiles.weight
    mean = torch.cat(answers)
    pairs = ((0 * mean, tiles.truth), (tiles.exact, tiles.truth), (mean, tiles.truth),
             (mean, tiles.exact))  # fmt: skip
    errors = [((one - other) ** 2 * weight).sum((-1, -2, -3)) for one, other in pairs]
    table = torch.stack([*errors, weight.sum((-1, -2, -3))]).double().cpu().numpy()
    reconstruction, kl = (torch.stack(bounds).sum(0) / len(mean)).tolist()
    found: dict[str, Any] = {
        **_summary(table),
        "reconstruction": reconstruction,
        "kl": kl,
        "by_mask": _by(tiles.family, table),
    }
    if None not in tiles.nside:
        found["by_nside"] = _by(tuple(str(nside) for nside in tiles.nside), table)
    return found


def _summary(table: NDArray[np.float64]) -> dict[str, float]:
    """Average errors over the weighted hole pixels of all tiles."""
    prior, floor, network, distance = (float(error) for error in table[:4].sum(1) / table[4].sum())
    return {
        "prior": prior,
        "floor": floor,
        "network": network,
        "excess": network / floor - 1,
        "distance": distance,
    }


def _by(labels: tuple[str, ...], table: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    """Summarise the tiles of each label, in the order of first appearance."""
    found = {}
    for label in dict.fromkeys(labels):
        summary = _summary(table[:, [one == label for one in labels]])
        found[label] = {key: summary[key] for key in ("floor", "excess", "distance")}
    return found
