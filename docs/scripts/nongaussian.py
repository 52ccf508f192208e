"""Fill lognormal tiles by a network that bends, and by the best linear filler, and compare.

Tiles are periodic, so that their spectrum is exact: exp(G) of a Gaussian field G of standard
deviation 0.8, standardised, whose correlation is (exp(ξ_G) - 1) / (exp(σ²) - 1), with a little
white noise. The linear filler is the Gaussian mean with just this spectrum, converged. The network
begins at 40 steps towards that mean and is trained on the truth.

    python docs/scripts/nongaussian.py --minutes 15 --out nongaussian/
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from pathlib import Path

import numpy as np
import torch

from skyfill.vae.network import TileVAE
from skyfill.vae.objective import blending_weight, hole_error
from skyfill.vae.simulation import FAMILIES, draw_mask
from skyfill.vae.steps import conjugate_gradient
from skyfill.vae.unet import Architecture

SIDE, GUARD = 128, 24
SIGMA = 0.8
NOISE = 1e-3
BATCH, RATE = 16, 1.5e-3


def waves() -> torch.Tensor:
    """Give the wave number of every mode, cycles per pixel."""
    ky = torch.fft.fftfreq(SIDE, dtype=torch.float64)[:, None]
    kx = torch.fft.rfftfreq(SIDE, dtype=torch.float64)[None]
    return torch.hypot(ky, kx)


def draw(n: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw tiles of unit variance, each with a correlation length of its own, and their spectra."""
    knee = torch.from_numpy(np.exp(rng.uniform(np.log(1 / 64), np.log(1 / 16), (n, 1, 1))))
    power = (1 + (waves() / knee) ** 2) ** -2
    power[:, 0, 0] = 0
    correlation = torch.fft.irfft2(power, s=(SIDE, SIDE))
    power = power * (SIGMA**2 / correlation[:, :1, :1])
    white = torch.from_numpy(rng.standard_normal((2, n, SIDE, SIDE)))
    gauss = torch.fft.irfft2(torch.fft.rfft2(white[0]) * power.sqrt(), s=(SIDE, SIDE))
    spread = math.expm1(SIGMA**2)
    field = torch.expm1(gauss - SIGMA**2 / 2) / math.sqrt(spread)
    xi = torch.expm1(torch.fft.irfft2(power, s=(SIDE, SIDE))) / spread
    spectrum = torch.fft.rfft2(xi).real.clamp(min=0) + NOISE
    return (field + math.sqrt(NOISE) * white[1])[:, None].float(), spectrum.float()


def masks(n: int, rng: np.random.Generator, family: str | None = None) -> torch.Tensor:
    """Draw observed pixels as in training."""
    drawn = np.stack([draw_mask(SIDE, GUARD, rng, family) for _ in range(n)])
    return torch.from_numpy(drawn).float()[:, None]


def train(minutes: float, seed: int) -> tuple[TileVAE, int]:
    """Train on the truth for so long; the rate falls with the time spent."""
    torch.manual_seed(seed)
    network = TileVAE(Architecture(linear=False, warm=40))
    averaged = copy.deepcopy(network).requires_grad_(requires_grad=False)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0)
    weight = blending_weight(SIDE, GUARD)
    begun, step, spent = time.monotonic(), 0, 0.0
    while spent < 1:
        rng = np.random.default_rng((seed, 0, step))
        truth, spectrum = draw(BATCH, rng)
        observed = masks(BATCH, rng)
        with torch.autocast("cpu", torch.bfloat16):
            mean = network(truth * observed, observed, spectrum)
        loss = hole_error(mean, truth, observed, weight + 0.02)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * spent))
        optimizer.step()
        with torch.no_grad():
            keep = min(0.995, step / (step + 10))
            for old, new in zip(averaged.parameters(), network.parameters(), strict=True):
                old.lerp_(new, 1 - keep)
        step += 1
        spent = (time.monotonic() - begun) / (60 * minutes)
        if step % 100 == 0:
            print(f"step {step}, loss {float(loss):.4f}, {spent:.0%}", flush=True)
    return averaged, step


def compare(network: TileVAE, tiles: int, seed: int) -> dict[str, dict[str, list[float]]]:
    """Give the hole error of both on held-out tiles, a mean and its standard error per family."""
    weight = blending_weight(SIDE, GUARD)
    found = {}
    for number, family in enumerate(FAMILIES):
        rng = np.random.default_rng((seed, 1, number))
        errors = []
        for _ in range(tiles // 20):
            truth, spectrum = draw(20, rng)
            observed = masks(20, rng, family)
            data = truth * observed
            with torch.no_grad():
                exact = conjugate_gradient(
                    data.double(),
                    observed.double(),
                    spectrum.double(),
                    iterations=1000,
                    tolerance=1e-6,
                )
                mean = network(data, observed, spectrum)
            holes = (1 - observed) * weight
            both = [((m - truth) ** 2 * holes).sum((-1, -2, -3)) for m in (exact.float(), mean)]
            errors.append(torch.stack(both) / holes.sum((-1, -2, -3)))
        linear, bent = torch.cat(errors, 1).double().numpy()
        found[family] = {
            name: [float(x.mean()), float(x.std(ddof=1) / math.sqrt(x.size))]
            for name, x in (("linear", linear), ("network", bent), ("gain", linear - bent))
        }
    return found


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15, help="of training")
    parser.add_argument("--tiles", type=int, default=200, help="held out, of every family")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="folder of weights and result")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    network, steps = train(args.minutes, args.seed)
    torch.save(network.state_dict(), args.out / "network.pt")
    result = {"steps": steps, "minutes": args.minutes} | compare(network, args.tiles, args.seed)
    (args.out / "result.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
