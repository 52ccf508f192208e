"""Chains on disk: every sample is kept, and a run that was stopped goes on."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skyfill.files.atomic import atomic_write
from skyfill.healpix.arrays import as_map, as_mask
from skyfill.healpix.checks import check_seed, check_whole
from skyfill.healpix.stokes import nside_of
from skyfill.holes import find_holes
from skyfill.posterior.gibbs import Gibbs, posterior_edges
from skyfill.posterior.summary import Posterior
from skyfill.prior import Given, Prior, UnlikelyPriorError, for_map, judge, read_prior, save_prior
from skyfill.prior.dipole import Dipole
from skyfill.progress import Progress, listening

__all__ = ["MOST_NSIDE", "sample"]

MOST_NSIDE = 256
"""Largest Nside: beyond it a sample takes too long."""
#: Seconds between two writings: a sample may take less time than a file. What a kill loses of them
#: is sampled again, number for number.
_PAUSE = 1.0
#: Version of the files in the folder.
_FORMAT = 1
#: Separates the random numbers of beginnings from those of samples.
_BEGIN = 0xBE61
#: Largest relative difference of two fits to one map with different numbers of threads.
_SAME = 1e-3
#: The file with the prior of the chains.
_PRIOR = "prior.json"
#: The file that says what the chains are of; then what differs if a number in it does.
_SETUP = "setup.json"
_SAYS = {
    "format": "the version of its files",
    "map": "the map or its mask",
    "prior": "the prior",
    "edges": "the bins",
    "seed": "the seed",
    "chains": "the number of chains",
    "tolerance": "the tolerance",
}


def sample(
    values: ArrayLike,
    observed: ArrayLike,
    folder: str | os.PathLike[str],
    *,
    prior: Prior | Given | None = None,
    trust_prior: bool = False,
    samples: int = 350,
    chains: int = 4,
    burn: int = 20,
    lmax: int | None = None,
    width: int | None = None,
    tolerance: float = 3e-3,
    seed: int = 0,
    threads: int = 0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Posterior:
    """Sample the posterior of a map's total C_ell, or go on with a run that was stopped.

    Parameters
    ----------
    values
        ``(npix,)``, µK, RING, of Nside 256 at most; NaN where missing.
    observed
        ``(npix,)``, RING, True where observed.
    folder
        Folder of the chains: ``chain_0.npz`` ... with every sample, ``prior.json``,
        ``setup.json``, and ``summary.ecsv``. Files are whole at any time, and the chains are at
        most some seconds behind. If the folder holds
        chains of the same map, prior, bins and seed, they are continued; the samples are those of a
        run without a stop.
    prior
        Prior of the map: a whole one, a partly given one, or None (fitted), as for
        `skyfill.Inpainter`. Its spectrum gives the shape within bins and the power beyond the last
        one; its noise must be white.
    trust_prior
        Whether to go on, with a warning, if the observed sky contradicts the prior.
    samples
        Number of samples of each chain; a larger number continues finished chains.
    chains
        Number of chains, 2 or more. They begin far apart.
    burn
        Number of samples at the beginning of each chain that are not used.
    lmax, width
        See `posterior_edges`.
    tolerance
        Accuracy of the fills, in units of the map's rms.
    seed
        Seed of the random numbers.
    threads
        Threads of the transforms; they change samples by rounding.
    overwrite
        Whether chains of something else in the folder may be replaced.
    progress
        Receives the stages.

    Returns
    -------
    The posterior, without the first ``burn`` samples.

    Raises
    ------
    ValueError
        The map is too large, nothing is missing or observed, a number is out of range, the folder
        holds other chains, or a fill has not converged.
    UnlikelyPriorError
        A ValueError: the observed sky contradicts the prior.
    OSError
        The folder cannot be written.

    Examples
    --------
    >>> import numpy as np, skyfill, tempfile, warnings
    >>> prior = skyfill.Prior(8, skyfill.lcdm(), fwhm=0.3, noise_uk_arcmin=500.0)
    >>> sky = skyfill.prior.draw(prior, seed=1, aliased=True)
    >>> observed = skyfill.galactic_cut(8, np.radians(10))
    >>> with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")  # of so few samples
    ...     found = skyfill.posterior.sample(
    ...         sky, observed, folder, prior=prior, samples=4, chains=2, burn=0
    ...     )
    >>> found.draws.shape[:2], bool(np.all(found.quantile(0.16) < found.quantile(0.84)))
    ((2, 4), True)

    """
    begun = time.perf_counter()
    progress = listening(progress)
    values = as_map(values, taker="posterior.sample")
    observed = as_mask(observed, taker="posterior.sample")
    nside = nside_of(values, "values")
    if nside > MOST_NSIDE:
        raise ValueError(
            f"the map has Nside {nside}, and chains are for Nside {MOST_NSIDE} at most; degrade"
            " map and mask"
        )
    check_seed(seed)
    for number, name, least in ((samples, "samples", 4), (chains, "chains", 2), (burn, "burn", 0)):
        check_whole(number, name, least=least)
    if burn > samples - 4:
        raise ValueError(
            f"`burn` leaves out {burn} of {samples} samples, 4 or more must be left; pass a larger"
            " `samples`"
        )
    observed = ~find_holes(values, observed)
    progress.stage("prior")
    known = for_map(prior, values, observed, threads=threads)
    _judge(values, observed, known, trust=trust_prior, threads=threads)
    folder = Path(folder)
    known = _kept_prior(folder, known)
    edges = posterior_edges(known, lmax, width)
    progress.done(f"{edges.size - 1} bins up to ell = {edges[-1] - 1}")
    _begin(
        folder,
        {
            "format": _FORMAT,
            "map": _digest(np.where(observed, values, 0.0), observed),
            "prior": _digest(known.signal_cl(), np.array(known.white_cl)),
            "edges": edges.tolist(),
            "seed": int(seed),
            "chains": int(chains),
            "tolerance": float(tolerance),
        },
        known,
        overwrite=overwrite,
    )
    gibbs = Gibbs(values, observed, known, edges, tolerance=tolerance, threads=threads)
    kept = [_Chain(folder / f"chain_{number}.npz", gibbs, seed, number) for number in range(chains)]
    progress.stage("samples", samples * chains)
    progress.advance(sum(min(chain.size, samples) for chain in kept))
    taken = 0
    begun = written = time.perf_counter()
    try:
        for index in range(samples):
            for chain in kept:
                if chain.size == index:
                    chain.extend()
                    taken += 1
                    progress.advance()
            if time.perf_counter() - written > _PAUSE:
                _write(kept)
                written = time.perf_counter()
    finally:
        _write(kept)
    seconds = (time.perf_counter() - begun) / taken if taken else math.nan
    progress.done(f"{taken} new, {samples} in each of {chains} chains")
    found = Posterior(
        known,
        edges,
        gibbs.theory,
        gibbs.noise,
        gibbs.modes,
        gibbs.least,
        gibbs.dl_per_cl,
        np.array([chain.powers[burn:samples] for chain in kept]),
        np.array([chain.draws[burn:samples] for chain in kept]),
        seconds,
    )
    found.write(folder / "summary.ecsv", overwrite=True)
    if not found.converged:
        warnings.warn(
            f"the chains are too short: the least effective number of samples is"
            f" {found.ess.min():.0f} (at least 200 are needed), the largest R-hat"
            f" {found.rhat.max():.3f} (at most 1.05); pass a larger `samples` to go on",
            stacklevel=2,
        )
    return found


def _judge(
    values: NDArray[np.float64],
    observed: NDArray[np.bool_],
    prior: Prior,
    *,
    trust: bool,
    threads: int,
) -> None:
    """Refuse, or warn of, a prior that the observed sky contradicts."""
    data = np.where(observed, values, 0.0)
    data -= np.where(observed, Dipole(observed, threads=threads).of(data), 0.0)
    found = judge(data, observed, prior)
    if found.verdict == "refused" and not trust:
        raise UnlikelyPriorError(
            f"the prior does not describe the observed sky: {found}. To go on nevertheless, pass"
            " `trust_prior=True`"
        )
    if found.verdict in ("doubtful", "refused"):
        warnings.warn(f"the prior may not describe the observed sky: {found}", stacklevel=3)


def _digest(*arrays: NDArray[Any]) -> str:
    """Give a checksum of arrays."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def _kept_prior(folder: Path, prior: Prior) -> Prior:
    """Give the prior of the chains in a folder if this one is the same within a fit's rounding.

    Fits depend on the number of threads in their last digits, and chains must not.
    """
    path = folder / _PRIOR
    if not (prior.fitted and path.exists()):
        return prior
    try:
        kept = read_prior(path)
    except (OSError, ValueError):
        return prior
    one, two = ((each.signal_cl(), each.white_cl) for each in (kept, prior))
    same = one[0].shape == two[0].shape and np.allclose(one[0], two[0], rtol=_SAME, atol=0.0)
    if not (same and math.isclose(one[1], two[1], rel_tol=_SAME)):
        return prior
    return replace(kept, fitted=prior.fitted, recorded=prior.recorded, assumed=prior.assumed)


def _begin(folder: Path, setup: dict[str, Any], prior: Prior, *, overwrite: bool) -> None:
    """Make the folder, or check that it holds chains of the same setup."""
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; chains need a folder")
    if not folder.parent.is_dir():
        raise FileNotFoundError(f"cannot write {folder}: there is no folder {folder.parent}")
    folder.mkdir(exist_ok=True)
    path = folder / _SETUP
    before = _setup_in(path)
    if before == setup:
        return
    if not overwrite:
        strangers = sorted(each.name for each in folder.iterdir() if not each.name.startswith("."))
        if before is not None:
            differ = [words for name, words in _SAYS.items() if before.get(name) != setup[name]]
            raise ValueError(
                f"{folder} holds chains that differ in {', '.join(differ)}; give another folder, or"
                " pass `overwrite=True` to begin anew"
            )
        if strangers:
            raise FileExistsError(
                f"{folder} holds other files ({strangers[0]}); give another folder, or pass"
                " `overwrite=True`"
            )
    for old in folder.glob("chain_*.npz"):
        old.unlink()
    save_prior(folder / _PRIOR, prior, overwrite=True)
    with atomic_write(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(setup, indent=1) + "\n", encoding="utf-8")


def _setup_in(path: Path) -> dict[str, Any] | None:
    """Read the setup of earlier chains; None if there is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError):
        return None
    return found if isinstance(found, dict) else None


class _Chain:
    """One chain and its file.

    The random numbers of a sample follow from seed, chain and index, and its beginning is the last
    sample in the file, so that a stopped chain goes on as if nothing had happened.
    """

    def __init__(self, path: Path, gibbs: Gibbs, seed: int, number: int) -> None:
        self._path, self._gibbs = path, gibbs
        self._words = [seed, number]
        bins = gibbs.modes.size
        self.powers: list[NDArray[np.float64]] = []
        self.draws: list[NDArray[np.float64]] = []
        self._written = 0
        if not path.exists():
            return
        try:
            with path.open("rb") as stream, np.load(stream) as file:
                powers, draws = file["powers"], file["draws"]
            if powers.shape != draws.shape or powers.shape[1:] != (bins,):
                raise ValueError("other shapes")
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"{path}: no chain of skyfill, or a damaged one ({error}); remove it, and the same"
                " command samples it again"
            ) from None
        self.powers, self.draws = list(powers), list(draws)
        self._written = self.size

    @property
    def size(self) -> int:
        """Number of samples."""
        return len(self.draws)

    def extend(self) -> None:
        """Take one more sample."""
        if self.draws:
            q = self.draws[-1]
        else:
            q = self._gibbs.start(np.random.default_rng([*self._words, _BEGIN]))
        power, q = self._gibbs.step(q, np.random.default_rng([*self._words, self.size]))
        self.powers.append(power)
        self.draws.append(q)

    def write(self) -> None:
        """Write the chain, if samples are new."""
        if self._written == self.size:
            return
        with atomic_write(self._path, overwrite=True) as temporary:
            np.savez(
                temporary,
                powers=np.array(self.powers),
                draws=np.array(self.draws),
                theory=self._gibbs.theory,
                modes=self._gibbs.modes,
                least=self._gibbs.least,
            )
        self._written = self.size


def _write(chains: list[_Chain]) -> None:
    for chain in chains:
        chain.write()
