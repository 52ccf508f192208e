"""Train the tile network on simulated skies: simulate, step, average, checkpoint.

Runs on torch and numpy alone, on a CPU or a GPU, and resumes from its last checkpoint:

    python -m skyfill.vae.training --out run/ --export tilevae-1.safetensors
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skyfill.flatsky import ARCMIN, TileField, power, tile_cl
from skyfill.vae.network import Architecture, TileVAE, conjugate_gradient
from skyfill.vae.objective import blending_weight, hole_error, prior_term
from skyfill.vae.simulation import draw_fields, draw_mask
from skyfill.vae.weights import ModelCard, save

LCDM = Path(__file__).parents[1] / "data" / "lcdm_planck2018.npz"


@dataclass(frozen=True)
class TrainConfig:
    """Say what to train on and for how long; kept in the model card.

    Ranges are drawn from uniformly in the logarithm, but for `pixel`. Tiles of every kind come with
    and without the part of the sky that a coarse level knows.

    Attributes
    ----------
    nside
        Smallest and largest resolution of the maps that tiles are cut from.
    pixel
        Tile pixel in units of the HEALPix pixel.
    beam
        FWHM in units of the HEALPix pixel.
    noise_uk_arcmin
        White noise at Nside 2048; it grows with the pixel, at random, at lower resolution.
    prior_weight
        Weight of the prior term beside the distance to the exact mean.
    exact
        Conjugate-gradient steps behind the exact mean of a training tile. Its distance has the same
        mean gradient as the error against the truth, without the noise of what nobody can know.
    """

    seed: int = 1
    steps: int = 6000
    batch: int = 16
    side: int = 128
    guard: int = 8
    learning_rate: float = 1.5e-3
    clip: float = 0.5
    ema: float = 0.998
    prior_weight: float = 0.02
    exact: int = 60
    nside: tuple[int, int] = (256, 2048)
    pixel: tuple[float, float] = (0.5, 0.75)
    beam: tuple[float, float] = (1.0, 4.0)
    noise_uk_arcmin: tuple[float, float] = (2.0, 60.0)
    architecture: Architecture = field(default_factory=Architecture)


def load_lcdm() -> NDArray[np.float64]:
    """Read the shipped TT spectrum, µK², from l = 0."""
    with np.load(LCDM) as table:
        return np.asarray(table["TT"], dtype=np.float64)


class Simulator:
    """Draw training batches: truth, observed pixels, prior spectrum.

    Spectra and masks come from pools that are drawn anew every few hundred batches, because they
    cost more than a field does.
    """

    def __init__(self, config: TrainConfig, *, seed: int, device: torch.device) -> None:
        self.config = config
        self.device = device
        self.rng = np.random.default_rng(seed)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.theory = load_lcdm()
        self.drawn = 0

    def _spectra(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Draw one prior: its spectrum on the tile, and on the domain that fields are made on."""
        c, rng = self.config, self.rng
        low, high = (int(math.log2(n)) for n in c.nside)
        nside = 2 ** int(rng.integers(low, high + 1))
        sky_pixel = math.sqrt(4 * math.pi / 12) / nside
        pixel = rng.uniform(*c.pixel) * sky_pixel
        fwhm = math.exp(rng.uniform(*np.log(c.beam))) * sky_pixel
        noise = math.exp(rng.uniform(*np.log(c.noise_uk_arcmin)))
        noise *= (2048 / nside) ** rng.uniform(-0.2, 1)
        ell = np.arange(int(1.5 * math.pi / pixel) + 1, dtype=float)
        cl = np.interp(ell, np.arange(self.theory.size), self.theory)
        cl *= np.minimum(1, (self.theory.size / np.maximum(ell, 1)) ** 6)  # beyond the table
        cl *= np.exp(-ell * (ell + 1) * fwhm**2 / (8 * math.log(2)))
        cl += (noise * ARCMIN) ** 2
        share = bool(rng.random() < 0.5)
        tile = TileField.of(cl, side=c.side, pixel=pixel, share=share, sky_pixel=sky_pixel)
        shown = tile_cl(cl, tile=c.side * pixel, pixel=pixel, share=share, sky_pixel=sky_pixel)
        return tile.spectrum, power(shown, 2 * c.side, pixel) / tile.rms**2

    def _refill(self) -> None:
        c = self.config
        pairs = [self._spectra() for _ in range(64)]
        masks = np.stack([draw_mask(c.side, c.guard, self.rng) for _ in range(1024)])
        self.spectra = self._tensor(np.stack([p[0] for p in pairs]))
        self.domains = self._tensor(np.stack([p[1] for p in pairs]))
        self.masks = self._tensor(masks)[:, None]

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array.astype(np.float32)).to(self.device)

    def batch(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Give truth and observed ``(size, 1, side, side)`` and spectrum ``(size, side, ...)``."""
        if self.drawn % 250 == 0:
            self._refill()
        self.drawn += 1
        prior = torch.from_numpy(self.rng.integers(0, len(self.spectra), size)).to(self.device)
        mask = torch.from_numpy(self.rng.integers(0, len(self.masks), size)).to(self.device)
        observed = torch.rot90(self.masks[mask], int(self.rng.integers(4)), (-1, -2))
        if self.rng.random() < 0.5:
            observed = observed.flip(-1)
        truth = draw_fields(self.domains[prior], self.generator)
        return truth, observed.contiguous(), self.spectra[prior]


def validation_set(
    config: TrainConfig, *, tiles: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw held-out tiles and their exact posterior means (the floor)."""
    simulator = Simulator(config, seed=config.seed + 1_000_003, device=device)
    truth, observed, spectrum = simulator.batch(tiles)
    exact = conjugate_gradient(truth * observed, observed, spectrum, iterations=200)
    return truth, observed, spectrum, exact


def excess(
    network: TileVAE, held_out: tuple[Tensor, Tensor, Tensor, Tensor], weight: Tensor
) -> dict[str, float]:
    """Give the hole error of prior, exact mean and network, and the network's distance.

    All in units of the prior's variance; ``distance`` is the squared distance to the exact mean.
    """
    truth, observed, spectrum, exact = held_out
    with torch.no_grad():
        mean = network(truth * observed, observed, spectrum)
    error = [float(hole_error(m, truth, observed, weight)) for m in (0 * truth, exact, mean)]
    return {
        "prior": error[0],
        "floor": error[1],
        "network": error[2],
        "distance": float(hole_error(mean, exact, observed, weight)),
        "excess": error[2] / error[1] - 1,
    }


def train(config: TrainConfig, out: Path, *, device: str = "auto", minutes: float = 1e9) -> TileVAE:
    """Train a network, or go on from the checkpoint in ``out``.

    Parameters
    ----------
    config
        What to train; a checkpoint made with another configuration is refused.
    out
        Folder of ``checkpoint.pt`` and ``log.jsonl``.
    device
        ``auto``, ``cpu`` or ``cuda``.
    minutes
        Stop, with a checkpoint, after so long; the schedule runs over ``config.steps`` whatever
        the number of sessions.

    Returns
    -------
    The network with averaged weights.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.device(device)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    network = TileVAE(config.architecture).to(where)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=0)
    averaged = copy.deepcopy(network).requires_grad_(requires_grad=False)
    step, spent = 0, 0.0
    checkpoint = out / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=where, weights_only=True)
        if state["config"] != json.dumps(asdict(config)):
            raise ValueError(f"{checkpoint}: made with another configuration; give another folder")
        network.load_state_dict(state["network"])
        averaged.load_state_dict(state["averaged"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent = state["step"], state["seconds"]
    # A session's batches differ from the last one's, and are the same when it is run again.
    simulator = Simulator(config, seed=config.seed + 7919 * (step + 1), device=where)
    held_out = validation_set(config, tiles=64, device=where)
    weight = blending_weight(config.side, config.guard, device=where)
    begun = time.monotonic()

    def save() -> None:
        seconds = spent + time.monotonic() - begun
        state = {
            "config": json.dumps(asdict(config)),
            "network": network.state_dict(),
            "averaged": averaged.state_dict(),
            "optimizer": optimizer.state_dict(),
            "step": step,
            "seconds": seconds,
        }
        torch.save(state, checkpoint.with_suffix(".new"))
        checkpoint.with_suffix(".new").replace(checkpoint)
        quality = excess(averaged, held_out, weight)
        entry = {"step": step, "seconds": round(seconds), **quality}
        with (out / "log.jsonl").open("a") as log:
            log.write(json.dumps(entry) + "\n")

    while step < config.steps and time.monotonic() - begun < 60 * minutes:
        rate = 0.5 * (1 + math.cos(math.pi * step / config.steps)) + 0.005
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate * min(1, (step + 1) / 50)
        truth, observed, spectrum = simulator.batch(config.batch)
        data = truth * observed
        exact = conjugate_gradient(data, observed, spectrum, iterations=config.exact)
        with torch.autocast(where.type, torch.bfloat16):
            mean = network(data, observed, spectrum)
        loss = hole_error(mean, exact, observed, weight + 0.02)
        loss = loss + config.prior_weight * prior_term(mean, spectrum)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        optimizer.step()
        with torch.no_grad():
            for mean_weight, new in zip(averaged.parameters(), network.parameters(), strict=True):
                mean_weight.lerp_(new, 1 - config.ema)
        step += 1
        if step % 100 == 0:
            save()
    save()
    return averaged


def export(network: TileVAE, config: TrainConfig, run: Path, path: Path) -> ModelCard:
    """Write trained weights and their card, with what the log of the run says of them.

    Parameters
    ----------
    network, config
        As `train` gave and took them.
    run
        Folder of the run.
    path
        File to write, ``.safetensors``; its name is the model's.

    Raises
    ------
    FileExistsError
        The file exists.
    """
    last = json.loads((run / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1])
    training = {**asdict(config), "trained_steps": last.pop("step"), "seconds": last.pop("seconds")}
    return save(network, path, name=path.stem, training=training, measured=last)


def main() -> None:
    """Train from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoint and log")
    parser.add_argument("--steps", type=int, default=TrainConfig.steps, help="of the schedule")
    parser.add_argument("--minutes", type=float, default=1e9, help="stop after so long")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("--threads", type=int, default=0, help="of the CPU; 0 for all")
    parser.add_argument("--export", type=Path, help="write the weights here at the end")
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    config = TrainConfig(steps=args.steps)
    network = train(config, args.out, device=args.device, minutes=args.minutes)
    if args.export:
        export(network, config, args.out, args.export)


if __name__ == "__main__":
    main()
