"""Few samples are not taken for knowledge: narrow data leave everything else far, thermal data know their like."""

import numpy as np
import pytest
from ase.build import bulk

from idealflow.core import SOAP, ScreenedFrame, UncertaintyCalculator, UncertaintyModel
from idealflow.core.known import KnownEnvironments
from idealflow.core.left_out import FEWEST
from idealflow.errors import InputError

LATTICE = {"Cu": 3.61, "Pd": 3.89, "Ag": 4.085}


def soap(*species):
    return SOAP(list(species), r_cut=4.0, n_max=6, l_max=6, sigma=0.4)


def crystal(element, *, repeat=3, volume=1.0):
    return bulk(element, "fcc", a=LATTICE[element] * volume ** (1 / 3), cubic=True).repeat(repeat)


def rattled(atoms, by, seed):
    atoms = atoms.copy()
    atoms.positions += np.random.default_rng(seed).normal(scale=by, size=atoms.positions.shape)
    return atoms


def hcp(element):
    a = LATTICE[element] / np.sqrt(2)
    return bulk(element, "hcp", a=a, c=a * np.sqrt(8 / 3)).repeat((3, 3, 2))


def bcc(element):
    return bulk(element, "bcc", a=LATTICE[element] / 2 ** (1 / 3), cubic=True).repeat(3)


def beside_a_vacancy(element):
    """A crystal without an atom, and that atom's nearest neighbours."""
    atoms = crystal(element)
    distances = atoms.get_distances(50, range(len(atoms)), mic=True)
    near = np.flatnonzero((distances > 0.1) & (distances < 0.8 * LATTICE[element]))
    del atoms[50]
    return atoms, near - (near > 50)


def volumes(element, n, repeat=1):
    return [crystal(element, repeat=repeat, volume=volume) for volume in np.linspace(0.94, 1.06, n)]


def thermal(element, n, by, seed):
    """So many environments of rattled cells of 108 atoms, as structures and masks."""
    frames, masks = [], []
    for number in range(-(-n // 108)):
        frames.append(rattled(crystal(element), by, [seed, number]))
        masks.append(np.arange(108) < n - 108 * number)
    return frames, masks


def assert_all_is_new(model, element):
    threshold = model.auto_threshold()
    assert np.isfinite(threshold)
    vacancy, near = beside_a_vacancy(element)
    assert (model(vacancy, near) > 5 * threshold).all()
    for atoms in (hcp(element), bcc(element), rattled(crystal(element), 0.1, 3)):
        assert (model(atoms) > 5 * threshold).all()


@pytest.mark.parametrize("element", ["Cu", "Pd", "Ag"])
@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 8, 11, 20, 60, 200])
def test_volumes_of_a_perfect_crystal_know_nothing_else(element, n):
    model = UncertaintyModel.fit(volumes(element, n), soap(element))
    assert model.n_distinct == {element: n}
    assert model.too_few == ({element: n} if n < FEWEST else {})
    assert_all_is_new(model, element)


@pytest.mark.parametrize("n", [3, 7, 11])
def test_copies_of_environments_are_no_more_knowledge(n):
    """Volumes as cells of 32 atoms: 32 times the samples, and the same uncertainties."""
    once, copied = (UncertaintyModel.fit(volumes("Pd", n, repeat), soap("Pd")) for repeat in (1, 2))
    assert copied.n_samples == {"Pd": 32 * n}
    assert copied.n_distinct == once.n_distinct == {"Pd": n}
    assert_all_is_new(copied, "Pd")
    assert copied.auto_threshold() == pytest.approx(once.auto_threshold(), rel=1e-6)
    np.testing.assert_allclose(copied(hcp("Pd")), once(hcp("Pd")), rtol=1e-6)


def test_copies_of_one_rattled_cell_are_one_cell():
    cell = rattled(crystal("Pd", repeat=2), 0.05, 1)
    once, copied = (UncertaintyModel.fit([cell] * times, soap("Pd")) for times in (1, 12))
    probe = rattled(crystal("Pd"), 0.05, 2)
    np.testing.assert_allclose(copied(probe), once(probe), rtol=1e-6)
    assert copied.auto_threshold() == pytest.approx(once.auto_threshold(), rel=1e-6)


@pytest.mark.parametrize(("element", "by"), [("Pd", 0.06), ("Pd", 0.12), ("Cu", 0.08), ("Ag", 0.1)])
def test_thermal_environments_know_their_like(element, by):
    held_out = [rattled(crystal(element), by, [99, number]) for number in range(3)]
    vacancy, near = beside_a_vacancy(element)
    for n in (20, 30, 60, 200):
        new, seen = [], []
        for seed in range(4):
            frames, masks = thermal(element, n, by, seed)
            model = UncertaintyModel.fit(frames, soap(element), masks=masks)
            threshold = model.auto_threshold()
            new.append(np.mean([model(atoms) > threshold for atoms in held_out]))
            seen.append(np.median(model(rattled(vacancy, by, 5), near)) / threshold)
        assert np.mean(new) <= 0.05
        if n == 200:
            assert np.median(seen) > 1.0


def test_left_out_environments_are_like_held_out_ones():
    """The tail that the threshold is taken from is that of environments that were not there."""
    frames, masks = thermal("Pd", 150, 0.1, 7)
    model = UncertaintyModel.fit(frames, soap("Pd"), masks=masks)
    held_out = np.concatenate([model(rattled(crystal("Pd"), 0.1, [99, number])) for number in range(10)])
    known = KnownEnvironments(model.species, model.soap.n_features, False, model.relative_cut, 0)
    known.join(
        np.concatenate([model.soap(atoms)[mask] for atoms, mask in zip(frames, masks, strict=True)]), np.zeros(150, int)
    )
    left_out = known.left_out()["Pd"]
    tail = np.quantile(left_out.distances, 0.99)
    assert np.quantile(held_out, 0.99) == pytest.approx(tail, rel=0.35)
    assert np.quantile(left_out.fitted, 0.99) < 0.85 * tail
    assert tail < model.auto_threshold() <= 2.0 * tail


def alloy(seed, by, *, silver=(0,)):
    atoms = crystal("Cu", repeat=2)
    atoms.symbols[list(silver)] = "Ag"
    return rattled(atoms, by, seed)


@pytest.mark.parametrize("n", [3, 7, 10, 20, 60])
def test_a_pair_of_a_minority_species_that_was_never_seen_is_new(n):
    by = 0.08
    model = UncertaintyModel.fit([alloy(seed, by) for seed in range(n)], soap("Cu", "Ag"))
    assert model.too_few == ({"Ag": n} if n < FEWEST else {})
    threshold = model.auto_threshold()
    assert np.isfinite(threshold)
    near = int(np.argsort(alloy(0, 0.0).get_distances(0, range(32), mic=True))[1])
    for seed in range(3):
        pair = alloy([seed, 1], by, silver=(0, near))
        assert (model(pair, [0, near]) > 20 * threshold).all()
        same = alloy([seed, 2], by)
        copper = model(same, np.arange(1, 32))
        assert (copper > threshold).mean() <= 0.05
        if n >= 20:
            assert model(same, [0])[0] < threshold


@pytest.mark.parametrize("n", [3, 10, 20, 30])
def test_a_displaced_atom_of_a_minority_species_is_new(n):
    model = UncertaintyModel.fit([alloy(seed, 0.08) for seed in range(n)], soap("Cu", "Ag"))
    threshold, values = model.auto_threshold(), []
    for seed in range(16):
        atoms = alloy([seed, 3], 0.08)
        atoms.positions[0] += np.random.default_rng(seed).normal(scale=0.25, size=3)
        values.append(model(atoms, [0])[0])
    assert np.median(values) > threshold


def test_what_is_known_from_too_few_environments_is_infinitely_far_but_for_itself():
    model = UncertaintyModel.fit(volumes("Cu", 4), soap("Cu", "Ag"))
    assert (model.too_few, model.auto_threshold()) == ({"Cu": 4}, 2.0)
    assert not model(crystal("Cu", volume=0.94)).any()
    assert np.isposinf(model(crystal("Cu", volume=0.96))).all()
    assert np.isposinf(model(crystal("Cu", volume=0.96), raw=True)).all()
    mixed = crystal("Cu", volume=0.94)
    mixed.symbols[9] = "Ag"
    found = ScreenedFrame.of(model, mixed, 2.0)
    assert found.centres[0] == 9  # never seen at all
    assert np.isposinf(found.values[found.triggering]).all()
    model.cover(mixed, [9])
    learned = ScreenedFrame.of(model, mixed, 2.0)
    assert 9 in learned.centres  # no distribution to say what is like it


def test_a_learned_environment_of_too_few_covers_itself_alone():
    model = UncertaintyModel.fit(volumes("Cu", 4), soap("Cu"))
    learned, other = rattled(crystal("Cu"), 0.1, 1), rattled(crystal("Cu"), 0.1, 2)
    model.cover(learned, [3])
    assert model.covered(learned, 2.0).tolist() == [atom == 3 for atom in range(108)]
    assert not model.covered(other, 2.0).any()


def test_infinite_uncertainties_have_a_value_and_no_slope():
    model = UncertaintyModel.fit(volumes("Cu", 4), soap("Cu"))
    atoms = rattled(crystal("Cu", repeat=2), 0.05, 1)
    value, in_positions, in_cell = model.value_and_gradient(atoms)
    assert np.isposinf(value)
    assert not in_positions.any()
    assert not in_cell.any()
    assert model.value_and_gradient(atoms, reference=np.full(32, np.inf))[0] == 0.0
    assert np.isposinf(model.value_and_gradient(atoms, reference=np.ones(32))[0])


def test_the_calculator_says_why_nothing_can_be_lowered():
    model = UncertaintyModel.fit(volumes("Cu", 4), soap("Cu"))
    atoms = rattled(crystal("Cu", repeat=2), 0.05, 1)
    atoms.calc = UncertaintyCalculator(model)
    with pytest.raises(InputError, match=r"32 atoms \(Cu\) is infinite"):
        atoms.get_forces()


@pytest.mark.parametrize("pooled", [False, True])
def test_torch_says_the_same(tmp_path, pooled):
    pytest.importorskip("torch")
    probe = alloy(50, 0.1)
    for frames in (volumes("Cu", 4, 2), volumes("Cu", 9), [alloy(seed, 0.08) for seed in range(9)]):
        model = UncertaintyModel.fit(frames, soap("Cu", "Ag"), pooled=pooled)
        other = UncertaintyModel.load(model.save(tmp_path / "model"), device="cpu")
        for atoms in (probe, crystal("Cu", repeat=2, volume=0.94)):
            np.testing.assert_allclose(other(atoms), model(atoms), rtol=1e-8)
            np.testing.assert_array_equal(other.covered(atoms, 3.0), model.covered(atoms, 3.0))
            for reference in (None, np.full(32, np.inf), np.full(32, 0.5)):
                found, expected = (m.value_and_gradient(atoms, reference=reference) for m in (other, model))
                assert not np.isnan(found[0])
                for one, two in zip(found, expected, strict=True):
                    np.testing.assert_allclose(one, two, rtol=1e-7, atol=1e-7 * max(1.0, np.abs(two).max()))


def test_the_gradient_is_exact_outside_what_is_believed():
    model = UncertaintyModel.fit(volumes("Cu", 9), soap("Cu"))
    atoms = rattled(crystal("Cu", repeat=2), 0.02, 4)
    weights = np.arange(32.0)
    _, gradient, _ = model.value_and_gradient(atoms, weights)
    step = 1e-4
    for atom, axis in ((3, 0), (17, 2), (30, 1)):
        values = []
        for sign in (2, 1, -1, -2):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            values.append(model.value_and_gradient(moved, weights)[0])
        slope = (-values[0] + 8 * values[1] - 8 * values[2] + values[3]) / (12 * step)
        assert slope == pytest.approx(gradient[atom, axis], abs=1e-6 * np.abs(gradient).max())
