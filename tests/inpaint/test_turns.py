"""``vae`` for T, Q and U: turns of the engine of T and of the solver of P give the joint mean."""

from __future__ import annotations

from dataclasses import replace

import healpy as hp
import numpy as np
import pytest

import skyfill
from skyfill.gaussian import memory
from skyfill.gaussian.leakage import allowed_leakage
from skyfill.inpaint import FillOptions, PolarizedInpainter
from skyfill.inpaint.plan import Request, make_joint_plan
from skyfill.inpaint.turns import Turns, turns_bytes
from skyfill.prior import PolarizedPrior, Prior, draw_polarization
from skyfill.prior.latent import latent_sky

NSIDE = 16
STRETCH = 32  # of the spectra, so that Nside 16 sees the peaks of Nside 512
NPIX = 12 * NSIDE**2
#: T is solved without tiles at this Nside, so no network is read.
ENGINE = FillOptions(method="vae", network=False)


def prior_of(noise: float = 10.0, narrower: float = 1.0) -> PolarizedPrior:
    ell = np.arange(6000 // STRETCH)
    tt, ee, bb, te = (
        np.where(ell > 1, STRETCH**2 * skyfill.lcdm(spectrum=name)[STRETCH * ell], 0.0)
        for name in ("TT", "EE", "BB", "TE")
    )
    of_t = Prior(
        NSIDE,
        tt,
        fwhm=np.radians(20 / 60) * STRETCH / narrower,
        noise_uk_arcmin=noise * STRETCH / 2**0.5,
    )
    return PolarizedPrior(of_t, ee, bb, te, noise * STRETCH)


PRIOR = prior_of()
Z = hp.pix2vec(NSIDE, np.arange(NPIX))
OF_T = (np.abs(Z[2]) > 0.12) & (Z[0] < 0.93)
OF_P = (np.abs(Z[2] - 0.1 * Z[0]) > 0.2) & (Z[1] < 0.95)
EVERYWHERE = np.ones(NPIX, bool)


def sky_of(prior: PolarizedPrior) -> np.ndarray:
    t, _ = latent_sky(prior.temperature, ~OF_T, seed=(3, 0))
    p, white = draw_polarization(prior, seed=3)
    return np.stack([t, *(p + white * np.sqrt(prior.white_cl[1] * NPIX / (4 * np.pi)))])


SKY = sky_of(PRIOR)


def fitter(method: str, of_t=OF_T, of_p=OF_P, **options) -> PolarizedInpainter:
    if method == "vae":
        options.setdefault("engine", ENGINE)
    return PolarizedInpainter(
        SKY, of_t, observed_pol=of_p, method=method, prior=PRIOR, threads=1, **options
    )


def excess(fills, exact, of_t=OF_T, of_p=OF_P) -> list[float]:
    """The squared distance to the exact mean over the squared error of that, of T, Q and U."""
    out = []
    for truth, seen, mine, best in zip(SKY, (of_t, of_p, of_p), fills, exact, strict=True):
        if not seen.all():
            out.append(np.mean((mine - best) ** 2) / np.mean((best - truth[~seen]) ** 2))
    return out


def test_the_turns_lead_to_the_joint_mean():
    turns = fitter("vae")
    t, q, u = excess(turns.mean(), fitter("gaussian", tolerance=1e-4).mean())
    assert t < 0.01
    assert max(q, u) < 0.003
    assert turns.converged
    assert turns.way == "alternate"
    assert turns.certificates["P"].corrections >= 2  # turns
    assert max(turns.certificates["P"].leakage) <= 0.01
    assert turns.certificates["P"].distance < turns.certificates["T"].distance


@pytest.mark.parametrize(
    ("narrower", "noise"), [(1.0, 10.0), (1.0, 30.0), (2.0, 10.0), (4.0, 30.0)]
)
def test_the_distance_that_is_told_is_not_far_below_the_true_one(narrower, noise):
    """The pixels resolve less and less of a narrower beam, and T tells less of P and P of T."""
    prior = prior_of(noise, narrower)
    options = {"prior": prior, "threads": 1, "observed_pol": OF_P}
    sky = sky_of(prior)
    exact = PolarizedInpainter(sky, OF_T, tolerance=1e-5, **options).mean()
    turns = PolarizedInpainter(sky, OF_T, method="vae", engine=ENGINE, **options)
    found = turns.mean()
    t, q, u = (np.std(one - other) for one, other in zip(found, exact, strict=True))
    assert t < 2.5 * turns.certificates["T"].distance
    assert max(q, u) < 2.5 * turns.certificates["P"].distance


def test_a_prior_without_te_converges():
    """T does not move after its first turn, and P's last step does not follow from T."""
    prior = replace(PRIOR, te=np.zeros_like(PRIOR.te))
    options = {"prior": prior, "threads": 1, "observed_pol": OF_P}
    turns = PolarizedInpainter(sky_of(prior), OF_T, method="vae", engine=ENGINE, **options)
    turns.mean()
    assert turns.converged
    assert turns.certificates["P"].distance < 3e-3 * np.std(SKY[1])


def test_the_joint_mean_is_not_that_of_t_alone():
    """Turns that forget TE fail here: the mean of T alone is far from the joint one."""
    joint = fitter("gaussian", tolerance=1e-4).mean()
    alone = skyfill.Inpainter(
        SKY[0], OF_T, method="gaussian", prior=PRIOR.temperature, threads=1
    ).mean()
    mine = fitter("vae").mean()
    assert np.std(mine[0] - joint[0]) < 0.3 * np.std(alone - joint[0])


def test_a_realization_is_the_joint_one_of_the_same_random_numbers():
    mine = fitter("vae", seed=4).realization(2)
    exact = fitter("gaussian", tolerance=1e-4, seed=4).realization(2)
    for one, other, most in zip(mine, exact, (0.05, 0.05, 0.05), strict=True):
        assert np.std(one - other) < most * np.std(other)


@pytest.mark.parametrize(("of_t", "of_p"), [(OF_T, EVERYWHERE), (EVERYWHERE, OF_P)])
def test_one_turn_is_enough_where_the_other_field_is_whole(of_t, of_p):
    turns = fitter("vae", of_t, of_p)
    found = excess(turns.mean(), fitter("gaussian", of_t, of_p, tolerance=1e-4).mean(), of_t, of_p)
    assert max(found) < 0.007
    assert turns.converged
    assert turns.certificates["P" if of_t.all() else "T"].corrections == 1


def test_what_turns_cannot_do_is_refused_by_name():
    with pytest.raises(ValueError, match=r"network for T only.*`method='gaussian'`"):
        PolarizedInpainter(SKY[1:], OF_P, method="vae", prior=PRIOR)
    with pytest.raises(ValueError, match=r"white noise only.*`noise_variance`"):
        fitter("vae", noise_variance=np.ones((4, NPIX)))
    with pytest.raises(ValueError, match="an engine must be of the method vae"):
        fitter("vae", engine=FillOptions(method="diffuse"))
    with pytest.raises(ValueError, match="only `method='vae'` takes options of an engine"):
        fitter("gaussian", engine=ENGINE)


def test_too_little_memory_is_refused_before_any_work(monkeypatch):
    def nothing(*_, **__):
        raise AssertionError

    monkeypatch.setattr(memory, "_machine_memory", lambda: 5e7)
    monkeypatch.setattr(PolarizedInpainter, "_prepare", nothing)  # the prior takes memory, too
    with pytest.raises(MemoryError, match=r"exact solver for Q and U.*this machine has 0"):
        fitter("vae")
    with pytest.raises(MemoryError, match=r"an exact fill.*this machine has 0"):
        fitter("gaussian")


def test_the_plan_counts_p_beside_the_mosaic_of_t():
    """At Nside 2048 P takes more than T; the plan names the solver of both."""
    small = {"T": OF_T, "P": OF_P}
    plan = make_joint_plan(small, method="vae", known=True)
    assert plan.stages[-2] == "P given T"
    alone = Request("vae", known=True).at(NSIDE)
    sizes = np.array([int((~OF_T).sum())])
    assert plan.memory > alone.memory(sizes, {})
    assert plan.memory == turns_bytes(OF_T, OF_P, ENGINE)[0]


def test_b_modes_beyond_what_is_allowed_are_told():
    """P's turns and the turns still to come may leave 1% of BB and noise together."""
    engine = fitter("vae")
    engine.mean()
    turns = engine._solver()
    (most,) = allowed_leakage(turns._bb, turns._noise_pol, 1)
    of_p = turns._of_p.start()
    of_p.distance, of_p.allowed = 0.01, 0.02
    for share, good in ((0.2, True), (0.3, False)):
        of_p.leakage = (share * most,)
        found = turns._of_turns(of_p, 2, 0.0, (share * most,))
        assert found.leakage == pytest.approx((4 * share * most,))  # twice the amplitude
        assert found.converged is good
    of_p.leakage, of_p.distance = (0.0,), 0.03
    assert not turns._of_turns(of_p, 2, 0.0, (0.0,)).converged


def test_another_map_shares_the_engines_and_has_the_fill_of_its_own():
    first = fitter("vae")
    first.mean()
    other = SKY[:, ::-1].copy()
    mine = first.with_map(other, seed=2).realization(1)
    own = PolarizedInpainter(
        other, OF_T, observed_pol=OF_P, method="vae", prior=PRIOR, threads=1, engine=ENGINE, seed=2
    ).realization(1)
    for one, two in zip(mine, own, strict=True):
        np.testing.assert_array_equal(one, two)
    assert first.with_map(other)._solver() is first._solver()


def test_a_t_that_is_far_from_its_mean_is_told_since_what_it_does_to_b_is_not(monkeypatch):
    usual = Turns._turn_of_t

    def far(self, *given):
        moved, known = usual(self, *given)
        return moved, replace(known, distance=0.1 * float(np.std(SKY[0][OF_T])))

    monkeypatch.setattr(Turns, "_turn_of_t", far)
    turns = fitter("vae", accept=True)
    with pytest.warns(UserWarning, match="NOT CONVERGED"):
        turns.mean()
    assert not turns.certificates["T"].converged
    assert turns.certificates["P"].converged
