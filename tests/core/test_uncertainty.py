import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st

from idealflow.core import SOAP, UncertaintyCalculator, UncertaintyModel
from idealflow.core.archive import read_archive, write_archive
from idealflow.core.descriptors.oracle import DScribeSOAP
from idealflow.core.distinct import DistinctSample
from idealflow.errors import ArtifactError, InputError
from idealflow.testing import check_uncertainty
from support.uncertainties import assert_cut_short_is_refused, assert_never_seen


def ni3al(repeat=2, rattle=0.06, seed=0):
    atoms = bulk("Ni", "fcc", a=3.57, cubic=True)
    atoms.symbols[0] = "Al"
    atoms = atoms.repeat(repeat)
    atoms.rattle(rattle, seed=seed)
    return atoms


SOAP_NIAL = SOAP(["Ni", "Al"], 3.5, 3, 3, 0.4)

KIND = "idealflow uncertainty model"


@pytest.fixture(scope="module")
def frames():
    return [ni3al(seed=seed) for seed in range(12)]


@pytest.fixture(scope="module")
def model(frames):
    return UncertaintyModel.fit(frames, SOAP_NIAL)


@pytest.mark.parametrize("pooled", [False, True])
def test_values_are_mahalanobis_distances_of_dscribes_descriptors(frames, pooled):
    """Recomputed with DScribe and numpy: within the directions that are believed, and outside them by what was measured."""
    model = UncertaintyModel.fit(frames, SOAP_NIAL, pooled=pooled, relative_cut=1e-5)
    oracle = DScribeSOAP(SOAP_NIAL)
    seen, kinds = np.concatenate([oracle(atoms) for atoms in frames]), np.concatenate([a.numbers for a in frames])
    other = ni3al(rattle=0.2, seed=99)
    descriptors, raw, found = oracle(other), model(other, raw=True), model(other)
    for name, number in [("pooled", None)] if pooled else [("Al", 13), ("Ni", 28)]:
        group, rows = (slice(None), slice(None)) if number is None else (kinds == number, other.numbers == number)
        covariance, centred = np.cov(seen[group].T), descriptors[rows] - seen[group].mean(axis=0)
        values, directions = np.linalg.eigh(covariance)
        kept = np.flatnonzero(values > 1e-5 * values[-1])[-max(4, len(seen[group]) // 10) :]
        inside = centred @ directions[:, kept]
        outside = centred - inside @ directions[:, kept].T
        expected = (inside**2 / values[kept]).sum(axis=1)
        whitened = model.whitened(descriptors[rows], 0 if number is None else model.species.index(name))
        k = model.n_dimensions[name]
        np.testing.assert_allclose(k * (whitened[:, : len(kept)] ** 2).sum(axis=1), expected, rtol=1e-6)
        # each feature by one variance, the same for nearly all of them
        measured = np.median(np.sqrt(k) * whitened[:, len(kept) :] / outside, axis=0)
        assert np.percentile(measured, 50) == pytest.approx(measured.min(), rel=0.5)
        np.testing.assert_allclose(raw[rows], expected + (measured**2 * outside**2).sum(axis=1), rtol=1e-5)
        np.testing.assert_allclose(found[rows], raw[rows] / k, rtol=1e-12)


def test_the_training_mean_is_one(frames, model):
    for species in ("Ni", "Al"):
        values = np.concatenate([model(atoms)[atoms.symbols == species] for atoms in frames])
        n = model.n_samples[species]
        assert values.mean() == pytest.approx((n - 1) / n, rel=1e-6)


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 11))
def test_updating_is_fitting_everything_at_once(cut):
    frames = [ni3al(seed=seed) for seed in range(12)]
    parts = UncertaintyModel.fit(frames[:cut], SOAP_NIAL)
    parts.update(frames[cut:])
    whole = UncertaintyModel.fit(frames, SOAP_NIAL)
    other = ni3al(rattle=0.15, seed=50)
    assert parts.n_samples == whole.n_samples
    np.testing.assert_allclose(parts(other), whole(other), rtol=1e-7)


def test_masks_choose_what_joins(frames):
    masks = [np.arange(len(atoms)) < 10 for atoms in frames]
    some = UncertaintyModel.fit(frames, SOAP_NIAL, masks=masks)
    assert sum(some.n_samples.values()) == 10 * len(frames)


def test_keeps_the_conventions(model):
    slab = ni3al(rattle=0.1, seed=4)
    slab.pbc = (True, True, False)
    skewed = ni3al(repeat=1, rattle=0.05, seed=5)  # narrower than the cutoff
    skewed.set_cell(np.asarray(skewed.cell) @ np.array([[1, 0.1, 0], [0, 1, 0.2], [0, 0, 1]]), scale_atoms=True)
    report = check_uncertainty(model, [ni3al(rattle=0.15, seed=3), slab, skewed], tolerance=2e-6)
    assert report.gradient_error < 2e-6


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("hinged", [False, True])
def test_the_calculator_is_consistent(model, weighted, hinged):
    """Its forces and stress are slopes of its energy."""
    atoms = ni3al(rattle=0.15, seed=8)
    rng = np.random.default_rng(0)
    weights = rng.integers(0, 2, len(atoms)).astype(float) if weighted else None
    reference = 0.5 * model(atoms) if hinged else None
    atoms.calc = UncertaintyCalculator(model, weights, reference)
    values = atoms.calc.get_property("uncertainties", atoms)
    np.testing.assert_array_equal(values, model(atoms))
    forces, stress = atoms.get_forces(), atoms.get_stress()

    def energy(positions=None, cell=None):
        moved = atoms.copy()
        if cell is not None:
            moved.set_cell(cell, scale_atoms=True)
        if positions is not None:
            moved.positions = positions
        return model.value_and_gradient(moved, weights, reference)[0]

    step = 1e-5
    slopes = []
    for index in ((0, 0), (7, 1), (20, 2), (13, 0), (3, 1)):
        plus, minus = (atoms.positions + 0.0 for _ in range(2))
        plus[index] += step
        minus[index] -= step
        slopes.append((energy(plus) - energy(minus)) / (2 * step) + forces[index])
    assert np.median(np.abs(slopes)) < 2e-6 * np.abs(forces).max()
    for component, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5 * step
        strain[b, a] += 0.5 * step
        plus, minus = (energy(cell=np.asarray(atoms.cell) @ (np.eye(3) + sign * strain)) for sign in (1, -1))
        slope = (plus - minus) / (2 * step) / atoms.get_volume()
        assert slope == pytest.approx(stress[component], abs=1e-4 * np.abs(stress).max())


def test_a_species_never_seen_is_infinitely_uncertain_and_has_no_gradient():
    soap = SOAP(["Ni", "Al", "Cu"], 3.5, 3, 3, 0.4)
    model = UncertaintyModel.fit([ni3al()], soap)
    atoms = ni3al(seed=5)
    atoms.symbols[7] = "Cu"
    assert_never_seen(model, atoms, 7)


def test_refusals(model, frames):
    with pytest.raises(InputError, match="Cu not among the descriptor's Al, Ni"):
        model(bulk("Cu"))
    with pytest.raises(InputError, match="at least one structure"):
        model.update([])
    with pytest.raises(InputError, match="masks must be one per structure"):
        model.update(frames[:2], masks=[np.ones(32, dtype=bool)])
    with pytest.raises(InputError, match="weights"):
        model.value_and_gradient(frames[0], weights=np.full(len(frames[0]), -1.0))
    with pytest.raises(InputError, match="weights"):
        model.value_and_gradient(frames[0], weights=np.zeros(len(frames[0])))
    with pytest.raises(InputError, match="reference"):
        model.value_and_gradient(frames[0], reference=np.zeros(len(frames[0])))
    with pytest.raises(InputError, match="relative_cut"):
        UncertaintyModel(SOAP_NIAL, relative_cut=1.0)
    with pytest.raises(InputError, match="no training environment"):
        UncertaintyModel(SOAP_NIAL).auto_threshold()


def test_a_refused_update_changes_nothing(frames):
    model = UncertaintyModel.fit(frames[:2], SOAP_NIAL)
    before = model(frames[5])
    lost = ni3al()
    lost.positions[3] = np.nan
    with pytest.raises(InputError, match="atom 3"):
        model.update([frames[3], lost])
    np.testing.assert_array_equal(model(frames[5]), before)


def test_auto_threshold_lies_above_what_was_met_in_training(frames, model):
    threshold = model.auto_threshold()
    met = np.concatenate([model(atoms) for atoms in frames])
    assert (met > threshold).mean() < 0.005
    unseen = np.concatenate([model(ni3al(seed=seed)) for seed in range(100, 106)])
    assert (unseen > threshold).mean() < 0.01
    broken = ni3al(seed=200)
    del broken[5]
    assert (model(broken) > threshold).sum() >= 6  # the neighbours of a vacancy


def test_a_copy_is_independent_and_a_saved_one_exact(model, frames, tmp_path):
    other = model.copy()
    other.cover(frames[0], [0])
    other.cover(frames[0], [3], quarantined=True)
    other.update([ni3al(rattle=0.3, seed=77)])
    assert model.n_covered == {"Al": 0, "Ni": 0}
    path = other.save(tmp_path / "model.npz")
    loaded = UncertaintyModel.load(path)
    probe = ni3al(rattle=0.2, seed=31)
    np.testing.assert_array_equal(loaded(probe), other(probe))
    np.testing.assert_array_equal(loaded.covered(frames[0], 2.0), other.covered(frames[0], 2.0))
    assert (loaded.n_covered, loaded.n_quarantined) == (other.n_covered, other.n_quarantined)
    for each in (loaded, other):  # and both go on alike: the sample is part of the state
        each.update([ni3al(rattle=0.1, seed=seed) for seed in range(300, 330)])
    assert loaded.auto_threshold() == other.auto_threshold()
    assert loaded.save(tmp_path / "a.npz").read_bytes() == other.save(tmp_path / "b.npz").read_bytes()


def written(model, path):
    return read_archive(model.save(path), KIND, 3)[0]


def test_a_file_is_as_large_as_its_environments_and_a_later_one_repeats_the_arrays_of_the_one_before(tmp_path):
    soap = SOAP(["Ni", "Al"], 3.5, 6, 5, 0.4)
    d = soap.n_features
    model = UncertaintyModel.fit([ni3al(seed=seed) for seed in range(6)], soap)  # 144 and 48 environments, below d / 2
    before = written(model, tmp_path / "a.npz")
    assert (tmp_path / "a.npz").stat().st_size < 192 * d * 8 + 20_000
    model.update([ni3al(seed=7)])
    model.cover(ni3al(seed=8), [1, 2, 9])
    after = written(model, tmp_path / "b.npz")
    new = [name for name, array in after.items() if name not in before or not np.array_equal(array, before[name])]
    assert sum(after[name].nbytes for name in new) < 35 * (d * 8 + 100) + 8 * 192
    model.update([ni3al(seed=seed) for seed in range(20, 50)])  # too many to be kept
    folded = written(model, tmp_path / "c.npz")
    assert folded["scatter/Ni"].nbytes == d * (d + 1) // 2 * 8
    model.update([ni3al(seed=60)])
    last = written(model, tmp_path / "d.npz")
    new = [name for name, array in last.items() if name not in folded or not np.array_equal(array, folded[name])]
    assert sum(last[name].nbytes for name in new) < 32 * (d * 8 + 100) + 2 * 8 * 2 * 512
    assert set(folded) <= set(last)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused_by_name(model, tmp_path, share):
    assert_cut_short_is_refused(model.save(tmp_path / "cut.npz"), share, UncertaintyModel.load)


def test_damaged_foreign_newer_and_missing_files_are_refused_by_name(model, tmp_path):
    path = model.save(tmp_path / "model.npz")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(ArtifactError, match=r"model\.npz"):
        UncertaintyModel.load(path)
    np.savez(tmp_path / "foreign.npz", mean=np.zeros(3))
    with pytest.raises(ArtifactError, match=r"foreign\.npz"):
        UncertaintyModel.load(tmp_path / "foreign.npz")
    with pytest.raises(ArtifactError, match=r"missing\.npz"):
        UncertaintyModel.load(tmp_path / "missing.npz")


def test_single_precision_screening_is_right_to_a_thousandth(frames):
    double = UncertaintyModel.fit(frames, SOAP_NIAL)
    path_settings = SOAP_NIAL.to_dict() | {"dtype": "float32"}
    single = UncertaintyModel.fit(frames, SOAP.from_dict(path_settings))
    for rattle in (0.06, 0.3):
        probe = ni3al(repeat=3, rattle=rattle, seed=9)
        np.testing.assert_allclose(single(probe), double(probe), rtol=1e-3)


def test_the_settings_are_plain_data():
    assert SOAP.from_dict(json.loads(json.dumps(SOAP_NIAL.to_dict()))) == SOAP_NIAL


def test_lone_atoms_and_open_boundaries_have_values():
    frames = [Atoms("Ni4", positions=np.random.default_rng(seed).uniform(0, 6, (4, 3))) for seed in range(40)]
    model = UncertaintyModel.fit(frames, SOAP(["Ni"], 3.0, 3, 2, 0.4))
    assert np.isfinite(model(Atoms("Ni"))).all()


def as_version(version, model, frames, path):
    """What former files held: mean and scatter of all environments, and the distinct ones written out.

    In version 1 a uniform sample of all environments, copies and all, stood in place of the distinct ones.
    """
    arrays, plain = read_archive(model.save(path), KIND, 3)
    vectors, kinds = np.concatenate([model.soap(a) for a in frames]), np.concatenate([a.symbols for a in frames])
    rng = np.random.Generator(np.random.PCG64(0))
    old = {}
    for species in model.species:
        own = vectors[kinds == species]
        centred, distinct = own - own.mean(axis=0), DistinctSample.empty(own.shape[1]).joined(own, 0)
        plain["n"][species] = len(own)
        old |= {f"mean/{species}": own.mean(axis=0), f"scatter/{species}": centred.T @ centred}
        old |= {f"distinct/{species}": distinct.rows, f"ranks/{species}": distinct.ranks}
        for name in ("learned", "quarantined"):
            rows = [array for key, array in sorted(arrays.items()) if key.startswith(f"{name}/{species}/")]
            old[f"{name}/{species}"] = np.concatenate([np.zeros((0, own.shape[1])), *rows])
        if version == 1:
            old[f"reservoir/{species}"] = own[rng.choice(len(own), min(512, len(own)), replace=False)]
            del old[f"distinct/{species}"], old[f"ranks/{species}"]
    if version == 1:
        del plain["full"], plain["seed"]
        plain["rng"] = rng.bit_generator.state
    return write_archive(path, KIND, version, old, plain)


@pytest.mark.parametrize(("version", "n_frames"), [(1, 6), (1, 40), (2, 6), (2, 40)])
def test_files_of_former_versions_are_read_and_continued(version, n_frames, tmp_path):
    """Nothing is lost; but of many, version 1 measures what lies outside the directions by another sample."""
    frames = [ni3al(seed=seed) for seed in range(n_frames)]
    model = UncertaintyModel.fit(frames, SOAP_NIAL)
    model.cover(frames[0], [0, 5, 6])
    model.cover(frames[0], [3], quarantined=True)
    old = UncertaintyModel.load(as_version(version, model, frames, tmp_path / "old.npz"))
    assert (old.n_covered, old.n_quarantined) == (model.n_covered, model.n_quarantined)
    probe = ni3al(rattle=0.2, seed=77)
    tolerance = 1e-6 if n_frames == 6 or version == 2 else 0.1
    assert old.n_samples == model.n_samples
    assert old.n_distinct == pytest.approx(model.n_distinct, rel=0.1)
    np.testing.assert_allclose(old(probe), model(probe), rtol=tolerance)
    assert old.auto_threshold() == pytest.approx(model.auto_threshold(), rel=max(0.3, tolerance))
    for each in (old, model):
        each.update([ni3al(rattle=0.1, seed=seed) for seed in range(300, 310)])
    np.testing.assert_allclose(old(probe), model(probe), rtol=max(1e-6, tolerance))
    again = UncertaintyModel.load(old.save(tmp_path / "new.npz"))
    np.testing.assert_array_equal(again(probe), old(probe))


def test_a_file_of_version_1_of_a_perfect_crystal_knows_one_environment(tmp_path):
    frames = [ni3al(rattle=0.0) for _ in range(60)]
    model = UncertaintyModel.fit(frames, SOAP_NIAL)
    old = UncertaintyModel.load(as_version(1, model, frames, tmp_path / "old.npz"))
    assert old.too_few == {"Al": 1, "Ni": 1}
    assert np.isposinf(old(ni3al(rattle=0.1))).all()
