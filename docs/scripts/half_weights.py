"""Store the weights of a network in half precision, and measure what that changes.

Large tensors become float16; those of fewer than 1024 numbers, such as biases and running means,
stay as they are. The network itself computes in float32. One sky is filled with both files.

    python docs/scripts/half_weights.py cosmovae-1.safetensors half/cosmovae-1.safetensors
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import skyfill
from skyfill.vae.card import sha256_of

#: Numbers in a tensor below which nothing is gained.
FEW = 1024


def halve(source: Path, out: Path) -> None:
    """Write the file and its card."""
    with safe_open(source, "pt") as file:
        about = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    for key, value in tensors.items():
        if value.numel() >= FEW and value.dtype == torch.float32:
            half = value.to(torch.float16)
            if not torch.isfinite(half).all():
                raise ValueError(f"{key} holds numbers beyond float16")
            tensors[key] = half
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out, metadata=about)
    out.chmod(0o644)
    card = json.loads(source.with_suffix(".json").read_text(encoding="utf-8"))
    card["sha256"] = sha256_of(out)
    text = json.dumps(card, indent=2) + "\n"
    out.with_suffix(".json").write_text(text, encoding="utf-8")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--nside", type=int, default=256)
    parser.add_argument("--seed", type=int, default=61)
    parser.add_argument("--holes", type=int, default=20)
    args = parser.parse_args()
    halve(args.source, args.out)
    print(f"{args.source.stat().st_size} bytes, {args.out.stat().st_size} halved")
    sky = skyfill.simulate_sky(
        args.nside, seed=args.seed, fwhm=np.radians(20 / 60), noise_uk_arcmin=60
    )
    observed = skyfill.simulate_mask(
        args.nside, seed=args.seed + 1, n_holes=args.holes, radii=np.radians((0.5, 2.0))
    )
    truth = sky[~observed]
    fills = {}
    for name, path in (("float32", args.source), ("float16", args.out)):
        filler = skyfill.Inpainter(sky, observed, method="cosmovae", weights=path, seed=1)
        fills[name] = filler.mean()
        print(f"{name}: squared error of the mean {np.mean((fills[name] - truth) ** 2):.4f} µK²")
    one, two = fills.values()
    change = float(np.mean((two - truth) ** 2) / np.mean((one - truth) ** 2)) - 1
    away = float(np.sqrt(np.mean((one - two) ** 2)))
    print(f"squared error changes by {change:+.2e}, fills differ by {away:.4f} µK rms")


if __name__ == "__main__":
    main()
