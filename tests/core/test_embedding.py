"""Relaxation of a shell: it gets better, never worse; the core does not move and nothing enters its sphere."""

import itertools

import numpy as np
import pytest
import scipy.optimize
from ase import Atoms
from ase.build import bulk, fcc111
from ase.neighborlist import primitive_neighbor_list
from test_cropping import sphere

from idealflow.core.cropping import crop_search, whole_frame
from idealflow.core.cropping.surroundings import heights_of
from idealflow.core.descriptors import SOAP
from idealflow.core.embedding import embed, relax, relax_shell
from idealflow.core.embedding.constraints import VOLUME_STIFFNESS, GeometryRules
from idealflow.core.embedding.lbfgs import minimise
from idealflow.core.embedding.objectives import ShellObjective
from idealflow.core.embedding.variables import free_cell_components
from idealflow.core.uncertainty import UncertaintyModel
from idealflow.errors import InputError

A = 3.61


def crystal(size, rattle, seed, symbols=None, scale=1.0):
    atoms = bulk("Cu", cubic=True, a=A * scale) * size
    if symbols == "Ni3Al":
        # L1_2: the corner of each cubic cell is aluminium
        atoms = Atoms("AlNi3", cell=np.eye(3) * 3.57, scaled_positions=bulk("Cu", cubic=True).get_scaled_positions())
        atoms = Atoms(atoms, pbc=True) * size
    atoms.rattle(rattle, seed=seed)
    return atoms


def with_vacancy(rattle, seed):
    frame = crystal((6, 6, 6), rattle, seed)
    hole = frame.positions[400]
    del frame[400]
    distance = np.linalg.norm(frame.positions - hole, axis=1)
    return frame, int(np.argmin(distance))


@pytest.fixture(scope="module")
def u():
    frames = [crystal((3, 3, 3), 0.06, seed, scale=s) for seed, s in enumerate(np.linspace(0.99, 1.01, 8))]
    return UncertaintyModel.fit(frames, SOAP(["Cu"], r_cut=3.2, n_max=4, l_max=4, sigma=0.4))


@pytest.fixture(scope="module")
def vacancy():
    return with_vacancy(0.07, 99)


@pytest.fixture(scope="module")
def crop(u, vacancy):
    frame, centre = vacancy
    crops = crop_search(u, frame, centre, 20, np.random.default_rng(0), size_weight=0.0)
    return max(crops, key=lambda one: one.cell_kind == "cartesian")


def assert_embedded(u, frame, index, crop, relaxed):
    assert (relaxed.atoms.numbers == crop.atoms.numbers).all()
    assert (relaxed.atoms.positions[crop.core] == crop.atoms.positions[crop.core]).all()
    np.testing.assert_allclose(sphere(relaxed.atoms, crop.centre, u.cutoff), sphere(frame, index, u.cutoff), atol=1e-10)
    here, there = u.descriptors(relaxed.atoms, [crop.centre]), u.descriptors(frame, [index])
    assert np.linalg.norm(here - there) <= 1e-10 * np.linalg.norm(there)
    free = [k for k in range(3) if crop.axes[k] == "periodic"]
    assert heights_of(relaxed.atoms.cell.array)[free].min() >= 2 * u.cutoff - 1e-9
    assert np.linalg.det(relaxed.atoms.cell.array) > 0
    i, j, shift, d = primitive_neighbor_list("ijSd", [True] * 3, relaxed.atoms.cell.array, relaxed.atoms.positions, 3.0)
    inner = crop.core[i] & crop.core[j] & (shift == 0).all(axis=1)
    assert (d[~inner] >= crop.limits.of(29, 29) - 1e-9).all()
    assert relaxed.min_contact == pytest.approx(d.min())


def test_a_vacancy_is_embedded_in_crystal(u, vacancy, crop):
    frame, centre = vacancy
    relaxed = relax_shell(u, crop, max_steps=150)
    assert_embedded(u, frame, centre, crop, relaxed)
    assert crop.uncertainty > 20.0
    assert relaxed.uncertainty_after < 0.1 * crop.uncertainty
    assert relaxed.uncertainty_after == pytest.approx(u(relaxed.atoms)[crop.shell].mean())
    assert relaxed.core_worsening < max(2.0, crop.core_worsening)
    assert u(relaxed.atoms)[crop.centre] == pytest.approx(u(frame, [centre])[0], rel=1e-8)
    assert relaxed.trace == sorted(relaxed.trace, reverse=True)
    assert relaxed.n_steps <= 150


def test_freeing_the_cell_gains_over_positions_alone(u, vacancy, crop):
    frame, centre = vacancy
    fixed = relax_shell(u, crop, max_steps=60, cell=False)
    freed = relax_shell(u, crop, max_steps=60)
    assert (fixed.atoms.cell.array == crop.atoms.cell.array).all()
    assert (freed.atoms.cell.array != crop.atoms.cell.array).any()
    assert_embedded(u, frame, centre, crop, fixed)
    assert freed.trace[-1] < fixed.trace[-1] < fixed.trace[0]


def test_the_papers_objective_lowers_the_mean(u, vacancy, crop):
    frame, centre = vacancy
    relaxed = relax_shell(u, crop, max_steps=60, objective="mean")
    assert_embedded(u, frame, centre, crop, relaxed)
    assert relaxed.uncertainty_after < 0.5 * crop.uncertainty
    volume = VOLUME_STIFFNESS * crop.volume_error**2
    assert relaxed.trace[0] == pytest.approx(np.log(crop.uncertainty) + volume, abs=1.0)


def test_a_good_crop_ends_in_distribution(u, vacancy):
    frame, centre = vacancy
    best = crop_search(u, frame, centre, 20, np.random.default_rng(0), size_weight=0.0)[0]
    relaxed = relax_shell(u, best, max_steps=150, threshold=2.0)
    assert relaxed.reason == "in_distribution"
    assert relaxed.uncertainty_after <= 2.0
    assert relaxed.core_worsening <= 2.0
    assert relaxed.n_steps < 150


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_never_worse_than_the_start(u, vacancy, crop, steps):
    relaxed = relax_shell(u, crop, max_steps=steps)
    assert relaxed.uncertainty_after <= crop.uncertainty
    assert relaxed.core_worsening <= max(crop.core_worsening, 2.0)
    assert relaxed.n_steps <= steps
    assert relaxed.reason in {"steps", "unchanged"}


def test_an_unphysical_limit_is_refused(u, crop):
    relaxed = relax_shell(u, crop, max_steps=10, min_contact=2.9)
    assert relaxed.reason == "contact"
    assert (relaxed.atoms.positions == crop.atoms.positions).all()


def test_a_whole_frame_is_left_alone(u):
    frame = crystal((3, 3, 3), 0.1, 5)
    relaxed = relax_shell(u, whole_frame(u, frame, 3))
    assert relaxed.reason == "unchanged"
    assert (relaxed.atoms.positions == frame.positions).all()
    assert relaxed.trace == []


def test_bad_arguments(u, crop):
    with pytest.raises(InputError, match="max_steps must be at least 1, got 0"):
        relax_shell(u, crop, max_steps=0)
    with pytest.raises(InputError, match="hinge, log-hinge, mean, got 'sum'"):
        relax_shell(u, crop, objective="sum")


@pytest.mark.parametrize("name", ["frame-hinge", "hinge", "log-hinge", "mean"])
def test_an_objective_knows_its_slope(crop, name):
    objective = ShellObjective(crop, name)
    rng = np.random.default_rng(1)
    values = np.exp(rng.normal(0.5, 1.0, len(crop.atoms)))
    _, slopes = objective(values)
    for k in rng.permutation(len(values))[:12]:
        moved = [values + sign * 1e-6 * (np.arange(len(values)) == k) for sign in (1, -1)]
        assert slopes[k] == pytest.approx((objective(moved[0])[0] - objective(moved[1])[0]) / 2e-6, abs=1e-7)


def test_a_hinge_is_content_with_the_known(crop):
    value, slopes = ShellObjective(crop, "hinge")(0.9 * crop.reference)
    assert value == 0.0
    assert not slopes.any()


def test_the_core_stays_as_known_as_it_was(u, vacancy):
    frame, centre = vacancy
    crops = crop_search(u, frame, centre, 20, np.random.default_rng(0), size_weight=0.0)
    worse = [relax_shell(u, crop, max_steps=100, objective="mean").core_worsening for crop in crops[:6]]
    kept = [relax_shell(u, crop, max_steps=100) for crop in crops[:6]]
    assert max(worse) > 2.0
    assert all(one.core_worsening <= max(2.0, one.core_worsening_before) for one in kept)
    assert np.median([one.core_worsening for one in kept]) < np.median(worse)


def test_a_broken_core_gets_more_weight_while_steps_are_left(u, monkeypatch):
    frame, centre = with_vacancy(0.2, 5)
    crops = crop_search(u, frame, centre, 20, np.random.default_rng(0), size_weight=0.0)[-3:]

    def excess():
        relaxed = [relax_shell(u, crop, max_steps=60) for crop in crops]
        assert all(one.n_steps <= 60 for one in relaxed)
        return np.maximum(0.0, [one.core_worsening - relax.MOST_WORSENING for one in relaxed])

    early = excess()
    monkeypatch.setattr(relax, "PATIENCE", 1.0)
    late = excess()
    assert late.any()
    assert early.sum() < late.sum()


def test_where_one_crop_stalls_the_next_is_tried(u, vacancy):
    frame, centre = vacancy
    crops = list(crop_search(u, frame, centre, 20, np.random.default_rng(0), size_weight=0.0))
    bad_first = [crops[-1], crops[0], crops[1]]
    tried = embed(u, bad_first, max_crops=3, max_steps=15)
    assert len(tried) > 1
    assert tried[0].relaxed.uncertainty_after == min(one.relaxed.uncertainty_after for one in tried if one.good)
    good_first = embed(u, crops[:3], max_steps=150)
    assert [one.index for one in good_first] == [0]
    assert good_first[0].good


def test_a_second_choice_follows_the_first(u, vacancy):
    frame, centre = vacancy
    crops = crop_search(u, frame, centre, 20, np.random.default_rng(0), size_weight=0.0)[:3]
    lists = [embed(u, crops, max_crops=2, max_steps=5, n_wanted=wanted) for wanted in (1, 2, 3)]
    for shorter, longer in itertools.pairwise(lists):
        assert [one.index for one in longer][: len(shorter)] == [one.index for one in shorter]
    assert sorted(one.index for one in lists[-1]) == [0, 1, 2]
    with pytest.raises(InputError, match="at least one crop"):
        embed(u, [])


def test_it_is_deterministic(u, crop):
    one, two = relax_shell(u, crop, max_steps=15), relax_shell(u, crop, max_steps=15)
    assert (one.atoms.positions == two.atoms.positions).all()
    assert one.trace == two.trace


def test_penalties_have_exact_gradients(u, crop):
    rng = np.random.default_rng(0)
    rules = GeometryRules(crop, u.cutoff, crop.limits)
    # squeezed: atoms touch, images enter the sphere, widths are too small
    positions = crop.atoms.positions + rng.normal(0.0, 0.25, crop.atoms.positions.shape)
    positions[crop.core] = crop.atoms.positions[crop.core]
    cell = crop.atoms.cell.array * 0.8 + rng.normal(0.0, 0.1, (3, 3))
    value, by_position, by_cell, breaches = rules.penalty(positions, cell)
    assert breaches.contact < 0 and breaches.sphere < 0 and breaches.width < 0  # noqa: PT018
    move, strain = rng.normal(size=positions.shape), rng.normal(size=(3, 3))
    move[crop.core] = 0.0
    h = 1e-6
    up, down = (rules.penalty(positions + s * h * move, cell + s * h * strain)[0] for s in (1, -1))
    slope = (by_position * move).sum() + (by_cell * strain).sum()
    assert (up - down) / (2 * h) == pytest.approx(slope, rel=1e-6)
    assert value > 0.0


def test_two_species(vacancy):
    frames = [crystal((3, 3, 3), 0.06, seed, "Ni3Al") for seed in range(6)]
    u = UncertaintyModel.fit(frames, SOAP(["Al", "Ni"], r_cut=3.0, n_max=3, l_max=3, sigma=0.4))
    frame = crystal((6, 6, 6), 0.07, 42, "Ni3Al")
    # an antisite: aluminium on a nickel site
    index = int(np.flatnonzero(frame.symbols == "Ni")[300])
    frame.symbols[index] = "Al"
    crops = crop_search(u, frame, index, 20, np.random.default_rng(0))
    relaxed = relax_shell(u, crops[0], max_steps=80)
    np.testing.assert_allclose(
        sphere(relaxed.atoms, relaxed.centre, u.cutoff), sphere(frame, index, u.cutoff), atol=1e-10
    )
    assert relaxed.uncertainty_after <= min(3.0, crops[0].uncertainty)
    assert crops[0].composition_error < 0.05


def test_a_surface_keeps_its_vacuum(u):
    frame = fcc111("Cu", (9, 9, 12), a=A, vacuum=8.0)
    frame.rattle(0.06, seed=1)
    top = int(np.argmax(frame.positions[:, 2]))
    crop = crop_search(u, frame, top, 10, np.random.default_rng(0))[0]
    relaxed = relax_shell(u, crop, max_steps=30)
    axis = crop.axes.index("vacuum")
    assert (relaxed.atoms.cell.array[axis] == crop.atoms.cell.array[axis]).all()
    assert relaxed.uncertainty_after < crop.uncertainty
    np.testing.assert_allclose(sphere(relaxed.atoms, crop.centre, u.cutoff), sphere(frame, top, u.cutoff), atol=1e-10)
    assert free_cell_components(crop).shape == (4, 9)


def test_kept_vectors_do_not_move(u):
    frame = crystal((2, 2, 30), 0.1, 1)
    crop = crop_search(u, frame, 200, 10, np.random.default_rng(0), max_atoms=200)[0]
    relaxed = relax_shell(u, crop, max_steps=20)
    kept = [k for k in range(3) if crop.axes[k] == "kept"]
    assert len(kept) == 2
    assert (relaxed.atoms.cell.array[kept] == crop.atoms.cell.array[kept]).all()
    np.testing.assert_allclose(sphere(relaxed.atoms, crop.centre, u.cutoff), sphere(frame, 200, u.cutoff), atol=1e-10)


def test_minimise_goes_around_what_is_stiff():
    # sixty soft directions, and ten walls a thousand times stiffer that are met on the way, as penalties are
    rng = np.random.default_rng(0)
    soft = np.linspace(0.05, 1.0, 60)
    normals = np.linalg.qr(rng.normal(size=(60, 10)))[0].T

    def walled(x):
        depth = np.maximum(0.0, normals @ x - 0.1)
        return 0.5 * float(soft @ (x - 1.0) ** 2) + 500.0 * float(depth @ depth), soft * (
            x - 1.0
        ) + 1e3 * depth @ normals

    values = []
    minimise(walled, np.zeros(60), 60, 0.15, lambda value: values.append(value) or False)
    best = scipy.optimize.minimize(walled, np.zeros(60), jac=True, method="L-BFGS-B", options={"maxiter": 5000}).fun
    start = walled(np.zeros(60))[0]
    # where refused steps are halved and forgotten, a fortieth of the way is left after sixty evaluations
    assert values[-1] - best < 0.002 * (start - best)


def test_minimise_finds_the_bottom_of_a_curved_valley():
    def rosenbrock(x):
        value = 100.0 * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2
        slope = np.array(
            [-400.0 * x[0] * (x[1] - x[0] ** 2) - 2.0 * (1.0 - x[0]), 200.0 * (x[1] - x[0] ** 2)],
        )
        return value, slope

    seen = []
    x, ended = minimise(rosenbrock, np.array([-1.2, 1.0]), 200, 0.5, lambda value: seen.append(value) or False)
    assert ended == "converged"
    np.testing.assert_allclose(x, 1.0, atol=1e-2)
    assert seen[-1] < 1e-6
    assert seen == sorted(seen, reverse=True)
