"""The posterior of a cut sky's spectrum: right, kept, continued."""

import warnings

import numpy as np
import pytest
from astropy.table import QTable
from scipy import stats

import skyfill
from skyfill.gaussian import Solver
from skyfill.gaussian.pinned import freed
from skyfill.posterior import Gibbs, Posterior, effective_samples, posterior_edges, sample
from skyfill.posterior.gibbs import truncated_draw
from skyfill.posterior.mixing import split_rhat
from skyfill.prior import ARCMIN, Prior, draw, lcdm

NSIDE = 8
PRIOR = Prior(NSIDE, lcdm(), 1200 * ARCMIN, noise_uk_arcmin=3000.0)
OBSERVED = skyfill.galactic_cut(NSIDE, np.radians(12))
SKY = draw(PRIOR, seed=3, aliased=True)


def short(folder, **changed):
    words = {"prior": PRIOR, "samples": 6, "chains": 2, "burn": 0, "seed": 5, "threads": 1}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "the chains are too short")
        return sample(SKY, OBSERVED, folder, **words | changed)


# --- the bins -----------------------------------------------------------------------------------


def test_bins_are_single_below_30_and_then_wider():
    prior = Prior(64, lcdm(), 100 * ARCMIN, noise_uk_arcmin=10.0)
    edges = posterior_edges(prior)
    assert edges[-1] == 97  # 1.5 Nside, and one more
    assert np.array_equal(edges[:28], np.arange(2, 30))
    assert np.all(np.diff(edges[28:]) >= 5)
    assert np.array_equal(posterior_edges(prior, 60, 10)[28:], [30, 40, 50, 60, 61])
    assert np.array_equal(posterior_edges(prior, 20), np.arange(2, 22))


def test_bins_end_where_noise_begins():
    prior = Prior(64, lcdm(), 100 * ARCMIN, noise_uk_arcmin=3000.0)
    last = int(posterior_edges(prior)[-1]) - 1
    assert prior.signal_cl()[last] >= 0.5 * prior.white_cl > prior.signal_cl()[last + 1]
    with pytest.raises(ValueError, match=r"noise dominates beyond.*lower `lmax`"):
        posterior_edges(prior, last + 1)
    with pytest.raises(ValueError, match=r"1\.5 Nside is 96"):
        posterior_edges(Prior(64, lcdm(), 100 * ARCMIN), 97)
    loud = Prior(64, lcdm(), 100 * ARCMIN, noise_uk_arcmin=1e6)
    with pytest.raises(ValueError, match="more noise than signal at ell = 2"):
        posterior_edges(loud)


# --- the two steps ------------------------------------------------------------------------------


def test_draws_are_inverse_gamma_and_cut_off():
    modes, power, n = np.array([5.0, 40.0, 40.0]), np.array([1.3, 0.8, 0.8]), 20000
    least = np.array([1e-9, 1e-9, 0.9])
    random = np.random.default_rng(1)
    drawn = np.array([truncated_draw(power, modes, least, random) for _ in range(n)])
    for b in range(2):
        exact = stats.invgamma(modes[b] / 2, scale=modes[b] * power[b] / 2)
        assert stats.kstest(drawn[:, b], exact.cdf).pvalue > 1e-3
    assert drawn[:, 2].min() >= 0.9
    above = drawn[drawn[:, 1] > 0.9, 1]
    assert stats.ks_2samp(drawn[:, 2], above).pvalue > 1e-3
    far = truncated_draw(np.array([1e-8]), np.array([400.0]), np.array([0.9]), random)
    assert far[0] >= 0.9


def test_a_solver_for_another_spectrum_is_exact():
    """Far from the spectrum it was made for; blocks and bands only cost iterations."""
    solver = Solver.for_prior(OBSERVED, PRIOR, threads=1)
    random = np.random.default_rng(2)
    cl = PRIOR.signal_cl() * np.exp(random.standard_normal(PRIOR.lmax + 1))
    new = freed(cl)
    new[:2] = solver.signal_cl[:2]
    fresh = Solver(OBSERVED, signal_cl=new, noise_cl=PRIOR.white_cl, threads=1)
    one, two = (each.mean(SKY, tolerance=1e-6).fill for each in (solver.with_signal(new), fresh))
    np.testing.assert_allclose(one, two, atol=1e-4 * solver.rms)
    before = solver.mean(SKY, tolerance=1e-6).fill  # the first is unchanged
    assert np.abs(before - one).max() > 0.01 * solver.rms
    with pytest.raises(ValueError, match="signal_cl must be"):
        solver.with_signal(new[:-1])


def test_fills_scatter_as_the_spectrum_says():
    """With the right spectrum, filled skies are skies of the prior: the power of each bin is 1."""
    edges = posterior_edges(PRIOR)
    random = np.random.default_rng(3)
    ones = np.ones(edges.size - 1)
    powers = []
    for index in range(60):
        sky = draw(PRIOR, seed=7, index=index, aliased=True)
        gibbs = Gibbs(sky, OBSERVED, PRIOR, edges, threads=1)
        powers.append(gibbs.power(gibbs.fill(ones, random)))
    away = (np.mean(powers, axis=0) - 1) / np.sqrt(2 / gibbs.modes / 60)
    assert np.abs(away).max() < 4
    spread = np.std(powers, axis=0) / np.sqrt(2 / gibbs.modes)
    assert abs(spread.mean() - 1) < 0.15


def test_observed_pixels_are_the_same_in_every_fill():
    gibbs = Gibbs(SKY, OBSERVED, PRIOR, posterior_edges(PRIOR), threads=1)
    ones = np.ones(gibbs.modes.size)
    one, two = (gibbs.fill(ones, np.random.default_rng(k)) for k in range(2))
    assert np.array_equal(one[OBSERVED], two[OBSERVED])
    assert np.abs((one - two)[~OBSERVED]).std() > 0.3 * SKY.std()


# --- the numbers --------------------------------------------------------------------------------


def test_quantiles_are_those_of_the_mixture():
    powers = np.abs(1 + 0.2 * np.random.default_rng(1).standard_normal((2, 50, 2)))
    modes, least = np.array([5.0, 60.0]), np.array([1e-6, 0.5])
    plain = np.ones(2)
    found = Posterior(
        PRIOR, np.array([2, 3, 4]), 7 * plain, 0 * plain, modes, least, plain, powers, powers
    )
    for level in (0.025, 0.5, 0.84):
        np.testing.assert_allclose(found.probability(found.quantile(level)), level, atol=1e-6)
    mixture = stats.invgamma(2.5, scale=2.5 * powers[..., 0].ravel()).cdf(1.4).mean()
    assert found.probability(7 * 1.4)[0] == pytest.approx(mixture, abs=1e-5)


def test_effective_samples_of_known_chains():
    random = np.random.default_rng(4)
    independent = random.standard_normal((4, 1000))
    assert effective_samples(independent) == pytest.approx(4000, rel=0.2)
    chains = np.zeros((4, 4000))
    for i in range(1, 4000):
        chains[:, i] = 0.6 * chains[:, i - 1] + random.standard_normal(4)
    assert effective_samples(chains) == pytest.approx(16000 * 0.4 / 1.6, rel=0.2)
    assert split_rhat(chains) < 1.02
    apart = independent + 3 * np.arange(4)[:, None]
    assert split_rhat(apart) > 1.5
    assert effective_samples(apart) < 20


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the chains are too short")
def test_intervals_have_their_frequency(tmp_path):
    """60 skies of Nside 8; docs/scripts/posterior.py has more and larger ones."""
    pit = []
    for index in range(60):
        sky = draw(PRIOR, seed=11, index=index, aliased=True)
        found = sample(
            *(sky, OBSERVED, tmp_path / str(index)),
            prior=PRIOR,
            samples=150,
            chains=4,
            seed=index,
            threads=1,
        )
        pit.append(found.probability(found.theory))
    values = np.array(pit)
    # bins of one sky are nearly independent
    assert values.std() == pytest.approx(0.2887, abs=0.025)
    assert values.mean() == pytest.approx(0.5, abs=4 * 0.289 / np.sqrt(values.size))
    assert np.mean((values > 0.16) & (values < 0.84)) == pytest.approx(0.68, abs=0.06)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the chains are too short")
def test_it_agrees_with_master_at_high_l(tmp_path):
    nside = 32
    prior = Prior(nside, lcdm(), 300 * ARCMIN, noise_uk_arcmin=500.0)
    seen = skyfill.simulate_mask(nside, seed=1, n_holes=10)
    sky = draw(prior, seed=2, aliased=True)
    found = sample(sky, seen, tmp_path / "c", prior=prior, samples=60, threads=1)
    master = skyfill.spectra.compare(
        sky, prior, lmax=int(found.edges[-1]) - 1, bins=found.edges, observed=seen
    ).cut
    # the posterior knows more than a sharp mask's pseudo-spectrum, so they differ by its error
    high = found.ell >= 30
    assert np.all(np.abs(found.quantile(0.5) - master.cl)[high] < 3 * master.sigma[high])
    width = (found.quantile(0.84) - found.quantile(0.16)) / 2
    assert np.all(width[high] < 1.2 * master.sigma[high])


# --- the folder ---------------------------------------------------------------------------------


def test_a_stopped_run_goes_on_to_the_same_chain(tmp_path):
    whole = short(tmp_path / "whole")
    short(tmp_path / "parts", samples=4)
    (tmp_path / "parts" / "chain_1.npz").unlink()  # as if it had been stopped earlier
    parts = short(tmp_path / "parts")
    assert np.array_equal(whole.draws, parts.draws)
    assert np.array_equal(whole.powers, parts.powers)
    again = short(tmp_path / "parts")
    assert np.isnan(again.seconds)  # no sample was made
    assert np.array_equal(whole.draws, again.draws)
    names = {each.name for each in (tmp_path / "whole").iterdir()}
    assert names == {"chain_0.npz", "chain_1.npz", "prior.json", "setup.json", "summary.ecsv"}


def test_a_kill_leaves_whole_chains(tmp_path, monkeypatch):
    """The program dies in the fifth fill; what was written is what was sampled."""
    fills = []

    def dying(self, q, random, own=Gibbs.fill):
        fills.append(1)
        if len(fills) == 5:
            raise KeyboardInterrupt
        return own(self, q, random)

    with monkeypatch.context() as patch:
        patch.setattr(Gibbs, "fill", dying)
        with pytest.raises(KeyboardInterrupt):
            short(tmp_path / "c")
    sizes = [len(np.load(tmp_path / "c" / f"chain_{k}.npz")["draws"]) for k in range(2)]
    assert sizes == [2, 2]
    assert np.array_equal(short(tmp_path / "c").draws, short(tmp_path / "whole").draws)


def test_another_seed_gives_another_chain(tmp_path):
    one, two = (short(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    assert not np.any(one.draws == two.draws)


def test_a_fitted_prior_is_that_of_the_folder(tmp_path):
    found = short(tmp_path / "c", prior=None)
    assert np.array_equal(found.draws, short(tmp_path / "c", prior=None).draws)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"seed": 6}, "differ in the seed;"),
        ({"chains": 3}, "differ in the number of chains;"),
        ({"lmax": 6}, "differ in the bins;"),
        ({"prior": Prior(NSIDE, lcdm(), 1200 * ARCMIN, noise_uk_arcmin=2900.0)}, "the prior"),
    ],
)
def test_chains_of_something_else_are_not_mixed(tmp_path, changed, says):
    short(tmp_path / "c")
    with pytest.raises(ValueError, match=says):
        short(tmp_path / "c", **changed)
    short(tmp_path / "c", overwrite=True, **changed)


def test_a_damaged_chain_is_named(tmp_path):
    short(tmp_path / "c")
    chain = tmp_path / "c" / "chain_0.npz"
    chain.write_bytes(chain.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"chain_0\.npz: no chain of skyfill, or a damaged one"):
        short(tmp_path / "c")


def test_folders_of_others_are_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(FileExistsError, match=r"holds other files \(mine.txt\)"):
        sample(SKY, OBSERVED, tmp_path, prior=PRIOR)
    with pytest.raises(NotADirectoryError, match="is a file"):
        sample(SKY, OBSERVED, tmp_path / "mine.txt", prior=PRIOR)
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        sample(SKY, OBSERVED, tmp_path / "no" / "c", prior=PRIOR)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ({"samples": 10, "burn": 8}, "`burn` leaves out 8 of 10"),
        ({"chains": 1}, "chains"),
        ({"observed": np.ones(OBSERVED.size, bool)}, "there is nothing to fill"),
        ({"values": np.zeros(12 * 512**2)}, "for Nside 256 at most; degrade"),
        ({"values": 40 * SKY}, "the prior does not describe the observed sky"),
        ({"prior": Prior(16, lcdm())}, "Nside 16"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, words, says):
    words = {"values": SKY, "observed": OBSERVED, "prior": PRIOR} | words
    if words["values"].size != words["observed"].size:
        words["observed"] = np.ones(words["values"].size, bool)
    with pytest.raises(ValueError, match=says):
        sample(words.pop("values"), words.pop("observed"), tmp_path / "c", **words)


def test_the_table_has_units_and_the_sky_s_own_power(tmp_path):
    found = short(tmp_path / "c")
    table = QTable.read(tmp_path / "c" / "summary.ecsv", format="ascii.ecsv")
    assert str(table["cl_median"].unit) == "uK2"
    np.testing.assert_allclose(table["cl_16"].value, found.quantile(0.16))
    ell = table["ell"]
    beam = PRIOR.transfer(int(ell[-1]))[2:]
    expected = (table["cl_median"].value - PRIOR.white_cl) / beam * ell * (ell + 1) / 2 / np.pi
    np.testing.assert_allclose(table["dl_median"].value, expected, rtol=1e-9)
