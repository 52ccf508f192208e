"""Conjugate gradients of the inner loop, against dense linear algebra."""

from types import SimpleNamespace

import numpy as np
import pytest

from skyfill.gaussian.distance import Path
from skyfill.gaussian.loops import Course, Inner
from skyfill.gaussian.vectors import rms
from skyfill.progress import Silent


def inner_of(matrix, *, limit=1000, **caution):
    """Make an inner loop for a matrix, without a preconditioner."""
    model = SimpleNamespace(
        inner=SimpleNamespace(inverse=lambda values: matrix @ values),
        precondition=np.copy,
        parts=[slice(None)],
    )
    return Inner(model, Silent(), limit, Course(), **caution)


def slow_matrix(size, spread, seed=0):
    """Make a positive matrix whose eigenvalues are spread evenly in their logarithm."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.standard_normal((size, size)))[0]
    return (axes * np.geomspace(1, spread, size)) @ axes.T


def test_the_length_of_a_path_is_that_of_its_sum(monkeypatch):
    matrix, right = slow_matrix(40, 1e3), np.random.default_rng(1).standard_normal(40)
    paths = []
    monkeypatch.setattr(Path, "ahead", lambda self, _: paths.append(self) or np.array([np.inf]))
    places = [inner_of(matrix, limit=n).solve(right.copy(), allowed=0.0)[0] for n in (4, 12)]
    path, here = paths[-1], slice(4, 12)
    steps = np.array(path.lengths[0])[here]
    found = path._along(steps, here)
    assert found == pytest.approx(rms(places[1] - places[0]), rel=1e-6)
    assert found > 1.3 * np.linalg.norm(steps)  # they are not at right angles


@pytest.mark.parametrize("spread", [10.0, 1e3, 1e5])
@pytest.mark.parametrize("share", [1e-2, 1e-3])
def test_the_distance_is_told_where_convergence_is_slow(spread, share):
    matrix, right = slow_matrix(300, spread), np.random.default_rng(2).standard_normal(300)
    exact = np.linalg.solve(matrix, right)
    x, (told,) = inner_of(matrix).solve(right.copy(), allowed=share * rms(exact))
    true = rms(x - exact)
    assert true < told < 3 * true


@pytest.mark.parametrize(("patient", "least"), [(False, 3), (True, 8)])
def test_a_patient_loop_takes_a_fifth_of_the_iterations_of_its_first_solve(patient, least):
    matrix, right = slow_matrix(300, 1e3), np.random.default_rng(2).standard_normal(300)
    inner = inner_of(matrix, patient=patient)
    inner.solve(right.copy(), allowed=1e-2 * rms(np.linalg.solve(matrix, right)))
    first = inner.taken
    inner.solve(right.copy(), allowed=np.inf)
    assert inner.taken - first == (max(-(-first // 5), 3) if patient else 3) >= least


@pytest.mark.parametrize("seed", range(3))
def test_a_wary_loop_is_not_deceived_by_short_steps_of_a_later_solve(seed):
    matrix = slow_matrix(300, 1e4, seed)
    right = np.random.default_rng(seed + 9).standard_normal(300)
    exact = np.linalg.solve(matrix, right)
    inner = inner_of(matrix, wary=True)
    left = exact - inner.solve(right.copy(), allowed=1e-2 * rms(exact))[0]  # slow modes alone
    allowed = 0.3 * rms(left)
    x, (told,) = inner.solve(matrix @ left, allowed=allowed)
    assert rms(left - x) < told <= allowed
