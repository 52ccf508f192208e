"""Show what it is worth to be judged by tiles that one has learned from.

A CosmoVAE is trained on few tiles of a simulated sky, and judged as it goes by those very tiles
under other masks, which is the paper's protocol, and by tiles of another sky. The ratio is that of
the squared error in the holes to the exact mean's: below one nobody can be who does not know the
answer.

    python docs/scripts/leak.py --limit 60 --stops 500 1000 2000 4000
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from skyfill import cosmovae
from skyfill.cosmovae.training import train
from skyfill.dataset import TileDataset, TileGeometry, write_tiles
from skyfill.fidelity import score_tiles
from skyfill.fidelity.optimum import dataset_mean
from skyfill.prior import ARCMIN, Prior, draw, lcdm
from skyfill.prior.simulate import simulate_mask

NSIDE, SIZE, PIXEL = 128, 64, 20.0


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, default=60, help="tiles, some third of them masked")
    parser.add_argument("--stops", type=int, nargs="+", default=[500, 1000, 2000, 4000])
    parser.add_argument("--seed", type=int, default=41)
    args = parser.parse_args()
    prior = Prior(NSIDE, lcdm(), fwhm=60 * ARCMIN, noise_uk_arcmin=60)
    ours, other = (draw(prior, seed=args.seed, index=k, aliased=True) for k in range(2))
    radii = np.radians((1.0, 3.0))
    observed = simulate_mask(
        NSIDE, seed=args.seed, half_width=np.radians(4), n_holes=12, radii=radii
    )
    geometry = TileGeometry(NSIDE, SIZE, "gnomonic", PIXEL, (4.0, 4.0))
    folder = Path(tempfile.mkdtemp())
    seen = write_tiles(
        folder / "seen", geometry, ours, observed, prior=prior, split="paper", limit=args.limit
    )
    unseen = write_tiles(
        folder / "unseen",
        geometry,
        ours,
        observed,
        prior=prior,
        split="sky",
        test_values=other,
        limit=5 * args.limit,
    )
    print(f"{seen.train.size} clean tiles, {seen.masks.size} masks", flush=True)
    # No early stop, and the last network, not the best: that would be one of before the leak.
    config = cosmovae.CosmoConfig(
        seed=1,
        width_factor=0.25,
        perceptual="none",
        patience=10**9,
        epochs=10**6,
        held_out=(0.03, 1),
    )
    for stop in args.stops:
        config = replace(config, max_steps=stop)
        network, about = train(config, seen, folder / "run", device="cpu")
        state = torch.load(folder / "run" / "checkpoint.pt", weights_only=True)
        network.load_state_dict(state["modules"][0])
        cosmovae.save(network, folder / "last.safetensors", about=about, overwrite=True)
        passes = config.batch * stop / seen.train.size
        print(f"{stop} steps, every tile {passes:.0f} times", flush=True)
        for name, dataset in [("seen", seen), ("another sky", unseen)]:
            print("  ", name, judged(folder / "last.safetensors", dataset), flush=True)


def judged(weights: Path, dataset: TileDataset) -> str:
    """Say how a network does on tiles of a data set."""
    tiles, masks = dataset.pairs(200, seed=0)
    truth, known = dataset.tiles(tiles), dataset.observed(masks)
    filled = cosmovae.CosmoFiller(*cosmovae.load(weights))(truth, known)
    best, _ = dataset_mean(dataset, tiles, truth, known)
    ours, optimum = (score_tiles(each, truth, known) for each in (filled, best))
    ratio = (ours.hole_rms_uk / optimum.hole_rms_uk) ** 2
    return f"MSE {ours.mse:.4f}, MAE {ours.mae:.4f}, PSNR {ours.psnr:.1f}, ratio {ratio:.3f}"


if __name__ == "__main__":
    main()
