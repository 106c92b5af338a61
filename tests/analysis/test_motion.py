"""Mean squared displacement, unwrapping and maps against their definitions."""

from __future__ import annotations

import builtins

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idealflow.analysis import diffusion_coefficient, map_environments, msd, unwrap
from idealflow.errors import InputError, MissingExtraError


def _walk(n_frames=60, n_atoms=7, seed=0):
    return np.cumsum(np.random.default_rng(seed).normal(0, 0.3, (n_frames, n_atoms, 3)), axis=0) + 100.0


def test_msd_equals_its_double_sum():
    r = _walk()
    n = len(r)
    expected = [np.mean([((r[t + m] - r[t]) ** 2).sum(axis=1).mean() for t in range(n - m)]) for m in range(n)]
    np.testing.assert_allclose(msd(r, origins="all"), expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(msd(r), ((r - r[0]) ** 2).sum(axis=2).mean(axis=1), rtol=1e-12)
    few = msd(r, atoms=[1, 4], origins="all")
    np.testing.assert_allclose(few, msd(r[:, [1, 4]], origins="all"), rtol=1e-9, atol=1e-12)
    many = _walk(20, 1500, seed=2)  # more than one chunk of the transform
    parts = np.mean([msd(many[:, :700], origins="all") * 700, msd(many[:, 700:], origins="all") * 800], axis=0)
    np.testing.assert_allclose(msd(many, origins="all"), parts * 2 / 1500, rtol=1e-9, atol=1e-10)


def test_drift_is_taken_out():
    r, masses = _walk(), np.arange(1.0, 8.0)
    drifting = r + np.linspace(0, 50, len(r))[:, None, None]
    np.testing.assert_allclose(msd(drifting, masses=masses), msd(r, masses=masses), rtol=1e-9, atol=1e-9)
    same = np.broadcast_to(np.linspace(0, 9, 10)[:, None, None], (10, 4, 3))
    assert msd(same, masses=np.ones(4)) == pytest.approx(0.0, abs=1e-20)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), varying=st.booleans())
def test_unwrapping_undoes_wrapping(seed, varying):
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(5, 8, 3)) + rng.uniform(-1.0, 1.0, (3, 3))
    cells = cell * (1.0 + 0.05 * np.sin(np.arange(60.0)) if varying else np.ones(60))[:, None, None]
    scaled = np.cumsum(rng.uniform(-0.2, 0.2, (60, 7, 3)), axis=0)
    pbc = np.array([True, False, True])
    wrapped = scaled - np.floor(scaled) * pbc
    start = np.floor(scaled[0]) * pbc
    found = unwrap(wrapped @ cells, cells, pbc)
    np.testing.assert_allclose(found, (scaled - start) @ cells, atol=1e-9)


def test_diffusion_of_a_random_walk():
    # 3-D walk of variance s² per axis and step: D = s² / (2 dt)
    r = _walk(2000, 200)
    time = np.arange(2000) * 2.0
    found = diffusion_coefficient(time, msd(r, origins="all"), fit=(0.01, 0.1))
    assert found == pytest.approx(0.09 / 4.0 * 0.1, rel=0.05)
    assert diffusion_coefficient([0.0, 1.0, 2.0], [0.0, 6.0, 12.0], fit=(0, 1)) == pytest.approx(0.1)


def test_what_has_no_answer_is_refused():
    for call, words in (
        (lambda: msd(np.zeros((0, 3, 3))), "empty"),
        (lambda: msd(np.zeros((3, 3))), "shape"),
        (lambda: msd(np.full((2, 2, 3), np.nan)), "finite"),
        (lambda: msd(_walk(), origins="some"), "'first' or 'all'"),
        (lambda: msd(_walk(), atoms=[]), "no atom"),
        (lambda: msd(_walk(), masses=[1.0]), "masses"),
        (lambda: unwrap(_walk(), np.zeros((3, 3))), "volume"),
        (lambda: diffusion_coefficient([0.0, 1.0], [0.0, 1.0], fit=(0.4, 0.6)), "two points"),
        (lambda: diffusion_coefficient([0.0], [0.0, 1.0]), "one length"),
        (lambda: map_environments(np.zeros((2, 5))), "at least 3"),
        (lambda: map_environments(np.zeros((5, 5)), "umap"), "'pca' or 'tsne'"),
    ):
        with pytest.raises(InputError, match=words):
            call()


def test_pca_keeps_the_distances_of_a_plane():
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(40, 2)) * [5.0, 1.0]
    basis = np.linalg.qr(rng.normal(size=(30, 30)))[0][:2]
    mapped = map_environments(plane @ basis + rng.normal(size=30))

    def gaps(x):
        return np.linalg.norm(x[:, None] - x[None], axis=2)

    np.testing.assert_allclose(gaps(mapped), gaps(plane), atol=1e-9)
    assert mapped[:, 0].var() > mapped[:, 1].var()


def test_tsne_separates_two_kinds(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(30, 20))
    rows[15:] += 20.0
    try:
        import sklearn  # noqa: F401 - only whether it is there
    except ImportError:
        with pytest.raises(MissingExtraError, match=r"idealflow\[tsne\]"):
            map_environments(rows, "tsne")
        return
    mapped = map_environments(rows, "tsne")
    between = np.linalg.norm(mapped[:15].mean(axis=0) - mapped[15:].mean(axis=0))
    assert between > 2.0 * max(mapped[:15].std(), mapped[15:].std())
    assert np.array_equal(mapped, map_environments(rows, "tsne"))
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("sklearn"):
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"idealflow\[tsne\]"):
        map_environments(rows, "tsne")
