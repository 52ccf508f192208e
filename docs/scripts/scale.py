r"""Time `skyfill inpaint` from start to end against resolution and against masked area.

The mask is the same at every resolution, beam and noise are so many pixels (5' and 30 µK·arcmin at
Nside 2048).
Every map is filled twice, with beam and noise given: the first realization pays for what the mask
asks for, the second does not. Seconds of every stage are the command's own. Files stay in
``--work``.

    python docs/scripts/scale.py --out scale.jsonl
    python docs/scripts/scale.py --out scale.jsonl --plot scale.png
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

#: Half widths of the band in degrees and numbers of holes: 1% to half of the sky.
BANDS = ((0.0, 1000), (0.0, 4000), (4.0, 4000), (12.5, 4000), (30.0, 4000))
USUAL = BANDS[3]
SKYFILL = [sys.executable, "-m", "skyfill.cli"]


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nside", type=int, nargs="+", default=(512, 1024, 2048, 4096))
    parser.add_argument("--areas-at", type=int, default=512, help="Nside of the masked areas")
    parser.add_argument("--method", nargs="+", default=("vae", "gaussian"))
    parser.add_argument("--work", type=Path, default=Path("scale"))
    parser.add_argument("--out", type=Path, required=True, help="a line of JSON for each run")
    parser.add_argument("--plot", type=Path, help="draw what --out holds, and run nothing")
    args = parser.parse_args()
    if args.plot:
        draw([json.loads(line) for line in args.out.read_text().splitlines()], args.plot)
        return
    args.work.mkdir(exist_ok=True)
    cases = [(nside, *USUAL) for nside in args.nside]
    cases += [(args.areas_at, *band) for band in BANDS if band != USUAL]
    for case in cases:
        for method in args.method:
            found = run(*case, method=method, work=args.work)
            with args.out.open("a") as out:
                out.write(json.dumps(found) + "\n")
            print(json.dumps(found), flush=True)


def run(nside: int, band: float, holes: int, *, method: str, work: Path) -> dict[str, object]:
    """Simulate what is not there yet, fill it twice, and tell of time and memory."""
    sky, mask = work / f"sky_{nside}.fits", work / f"mask_{nside}_{band}_{holes}.fits"
    size = 2048 / nside
    known = ["--beam-arcmin", str(5 * size), "--noise-uk-arcmin", str(30 * size)]
    kind = ["--kind", "both", "--band-deg", str(band)] if band else ["--kind", "holes"]
    kind += ["--holes", str(holes), "--radius-arcmin", "6", "30"]
    for path, words in ((sky, ["sky", *known]), (mask, ["mask", *kind])):
        if not path.exists():
            words += ["-o", str(path), "--nside", str(nside), "--seed", "7", "-q"]
            subprocess.run([*SKYFILL, "simulate", *words], check=True)  # noqa: S603
    command = [*SKYFILL, "inpaint", str(sky), str(mask), "-o", str(work / f"{method}.fits")]
    command += ["--method", method, "--realizations", "2", "--overwrite", "--json", *known]
    begun = time.perf_counter()
    with subprocess.Popen(  # noqa: S603
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        stages: dict[str, list[float]] = defaultdict(list)
        ends = []
        for line in child.stderr or ():
            if match := re.match(r"([a-z ]+).*\(([\d.]+) s\)$", line):
                stages[match[1].strip()].append(float(match[2]))
                if line.startswith("write"):
                    ends.append(time.perf_counter() - begun)
        text = child.stdout.read() if child.stdout else ""
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    found = {"nside": nside, "band_deg": band, "holes": holes, "method": method}
    if child.returncode:
        return found | {"status": child.returncode}
    told = json.loads(text)
    return found | {
        "masked": round(1 - told["fsky"], 4),
        "filled_pixels": told["filled_pixels"],
        "first_s": round(ends[0], 1),
        "further_s": round(ends[1] - ends[0], 1),
        "gib": round(usage.ru_maxrss / 2**20, 2),
        "stages": stages,
    }


def draw(runs: list[dict], path: Path) -> None:
    """Draw seconds against Nside and masked area, with the power laws that fit them best."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    done = [each for each in runs if "first_s" in each]
    usual = [each for each in done if each["band_deg"] == USUAL[0]]
    areas_at = next(each["nside"] for each in done if each["band_deg"] != USUAL[0])
    areas = [each for each in done if each["nside"] == areas_at]
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), layout="constrained")
    for panel, chosen, x, label in (
        (panels[0], usual, "nside", "Nside (24% masked)"),
        (panels[1], areas, "masked", f"masked share of the sky (Nside {areas_at})"),
    ):
        for method in dict.fromkeys(each["method"] for each in chosen):
            for cost, mark in (("first_s", "o-"), ("further_s", "s--")):
                points = sorted(
                    (each[x], each[cost]) for each in chosen if each["method"] == method
                )
                at, seconds = np.array(points).T
                power, factor = np.polyfit(np.log(at), np.log(seconds), 1)
                panel.loglog(at, seconds, mark, label=f"{method}, {cost[:-2]}: {x}^{power:.2f}")
                print(f"{method}, {cost}: {np.exp(factor):.3g} {x}^{power:.2f}")
        panel.set(xlabel=label, ylabel="seconds, two cores")
        panel.legend(fontsize=8)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
