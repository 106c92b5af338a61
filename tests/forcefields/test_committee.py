"""The committee as an uncertainty: its scale, its gradients, its files, and the stages of a round on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk

from idealflow.core import (
    SOAP,
    ForceFieldUpdate,
    ScreenedFrame,
    UncertaintyCalculator,
    UncertaintyModel,
    crop_search,
    relax_shell,
    screen,
)
from idealflow.errors import ArtifactError, InputError
from idealflow.forcefields import AtomicForceField, CommitteeUncertainty, get_force_field, pretrained_force_field
from idealflow.forcefields.committee.kept_frames import KEPT, KeptFrames
from idealflow.testing import check_uncertainty
from support.labelled_cells import copper_cells, distorted, labelled
from support.uncertainties import assert_cut_short_is_refused, assert_never_seen

MEMBERS, STEPS = 3, 80


def small(species=("Cu",)):
    return get_force_field("local", species=list(species), cutoff=4.0, n_radial=6, n_channels=4, hidden=[12])


def soap(species=("Cu",)):
    return SOAP(list(species), 3.2, 3, 3, 0.3)


def crystal(amplitude, strain=0.01, seed=0, repeat=2):
    return distorted(bulk("Cu", cubic=True, a=3.65).repeat(repeat), amplitude, strain, seed)


@pytest.fixture(scope="module")
def cells():
    torch.set_num_threads(1)  # before the first fit: fixtures of a module come ahead of those of a test
    return copper_cells(12, 1)


@pytest.fixture(scope="module")
def fitted(cells):
    base = UncertaintyModel.fit(cells, soap())
    return CommitteeUncertainty.fit(cells, base, small(), members=MEMBERS, steps=STEPS)


@pytest.fixture(scope="module")
def hot(cells):
    """Trained at moderate amplitudes alone, so that defects stand out; and a frame with an interstitial."""
    calm = [labelled(crystal(0.08, seed=seed)) for seed in range(10)]
    committee = CommitteeUncertainty.fit(
        calm, UncertaintyModel.fit(calm, soap()), small(), members=MEMBERS, steps=STEPS
    )
    frame = crystal(0.06, strain=0.0, seed=5, repeat=5)
    frame.append("Cu")
    frame.positions[-1] = frame.positions[250] + [1.8, 0.2, 0.1]
    return committee, frame


def test_keeps_the_conventions(fitted, cells):
    slab = crystal(0.12, seed=4)
    slab.pbc = (True, True, False)
    skewed = distorted(bulk("Cu", a=3.65), 0.0, 0.05, 5) * (2, 1, 1)  # narrower than the cutoff
    skewed.rattle(0.08, seed=1)
    report = check_uncertainty(
        fitted, [crystal(0.15, seed=3), slab, skewed], labelled=cells[:2], displacement=3e-5, tolerance=1e-6
    )
    assert report.gradient_error < 1e-6
    assert report.cell_error < 1e-6


def test_two_species_keep_the_conventions():
    def alloy(seed):
        return distorted(bulk("NiAl", "cesiumchloride", a=2.9).repeat(2), 0.08, 0.01, seed)

    cells = [labelled(alloy(seed)) for seed in range(6)]
    base = UncertaintyModel.fit(cells, soap(("Ni", "Al")))
    committee = CommitteeUncertainty.fit(cells, base, small(("Ni", "Al")), members=2, steps=30)
    check_uncertainty(committee, [alloy(50)], displacement=3e-5, tolerance=1e-6)
    for symbol in ("Ni", "Al"):
        values = np.concatenate([committee(atoms)[atoms.symbols == symbol] for atoms in cells])
        assert values.mean() == pytest.approx(1.0)


@pytest.mark.parametrize("hinged", [False, True])
def test_gradients_are_slopes(fitted, hinged):
    """Every tenth coordinate and every cell component, by central differences of fourth order."""
    atoms = crystal(0.15, seed=8)
    weights = np.random.default_rng(0).integers(0, 2, len(atoms)).astype(float)
    reference = 0.5 * fitted(atoms) if hinged else None
    _, in_positions, in_cell = fitted.value_and_gradient(atoms, weights, reference)

    def slope(move):
        def value(step):
            moved = atoms.copy()
            move(moved, step)
            return fitted.value_and_gradient(moved, weights, reference)[0]

        h = 1e-4
        return (8.0 * (value(h) - value(-h)) - (value(2 * h) - value(-2 * h))) / (12.0 * h)

    def shift(index):
        def move(moved, step):
            moved.positions[np.unravel_index(index, (len(atoms), 3))] += step

        return move

    def stretch(index):
        def move(moved, step):
            cell = moved.cell.array
            cell.flat[index] += step
            moved.set_cell(cell)

        return move

    chosen = range(0, 3 * len(atoms), 10)
    found = np.array([slope(shift(index)) for index in chosen])
    np.testing.assert_allclose(found, in_positions.ravel()[chosen], atol=1e-6 * np.abs(in_positions).max())
    found = np.array([slope(stretch(index)) for index in range(9)])
    np.testing.assert_allclose(found, in_cell.ravel(), atol=1e-6 * np.abs(in_cell).max())


def test_atomic_energies_add_up_and_pull_back_to_forces(trained):
    atoms = crystal(0.1, seed=2)
    atoms.calc = trained.calculator()
    assert isinstance(trained, AtomicForceField)
    energies, pull = trained.atomic_energies().linearised(atoms)
    np.testing.assert_allclose(energies, atoms.calc.get_property("energies", atoms), atol=1e-12)
    np.testing.assert_allclose(trained.atomic_energies()(atoms, [7, 3]), energies[[7, 3]], rtol=1e-12)
    in_positions, in_cell = pull(np.ones(len(atoms)))
    np.testing.assert_allclose(-in_positions, atoms.get_forces(), atol=1e-10)
    strain = atoms.positions.T @ in_positions + atoms.cell.array.T @ in_cell
    np.testing.assert_allclose(strain / atoms.get_volume(), atoms.get_stress(voigt=False), atol=1e-10)


def test_weights_pull_back_through_the_repulsion_too(trained):
    """Two atoms closer than any bond, with weights that differ."""
    atoms = crystal(0.05, seed=2)
    atoms.positions[1] = atoms.positions[0] + [1.1, 0.2, 0.0]
    atomic, weights = trained.atomic_energies(), np.random.default_rng(1).uniform(0, 1, len(atoms))
    in_positions, _ = atomic.linearised(atoms)[1](weights)
    for index in ((0, 0), (1, 1), (5, 2)):
        values = []
        for step in (1e-5, -1e-5):
            moved = atoms.copy()
            moved.positions[index] += step
            values.append(weights @ atomic(moved))
        assert (values[0] - values[1]) / 2e-5 == pytest.approx(in_positions[index], rel=1e-6, abs=1e-6)


def test_the_training_mean_is_one_and_the_distorted_stand_out(fitted, cells):
    assert np.concatenate([fitted(atoms) for atoms in cells]).mean() == pytest.approx(1.0, rel=1e-9)
    assert fitted(crystal(0.1, seed=100)).mean() < 1.5
    assert fitted(crystal(0.4, seed=100)).mean() > 30.0
    squeezed = crystal(0.1, seed=100)
    squeezed.set_cell(0.85 * squeezed.cell.array, scale_atoms=True)
    assert fitted(squeezed).min() > fitted.auto_threshold()


def test_reference_energies_do_not_count(cells, fitted):
    """A member whose atoms are all 3 eV higher judges alike."""
    members = fitted.members
    members[1].model.reference += 3.0
    shifted = CommitteeUncertainty(members, fitted.base.copy(), cells)
    probe = crystal(0.2, seed=9)
    np.testing.assert_allclose(shifted(probe), fitted(probe), rtol=1e-8)


def test_a_species_never_seen_is_infinitely_uncertain_and_has_no_gradient(cells):
    species = ("Cu", "Ag")
    committee = CommitteeUncertainty.fit(
        cells[:4], UncertaintyModel.fit(cells[:4], soap(species)), small(species), members=2, steps=10
    )
    atoms = crystal(0.1)
    atoms.symbols[7] = "Ag"
    assert_never_seen(committee, atoms, 7)
    assert np.isposinf(committee(atoms, [7], raw=True)).all()
    assert screen(committee, atoms, 1e12).tolist() == [7]


def test_refusals(fitted, cells):
    base = fitted.base
    with pytest.raises(InputError, match="Ni not among the committee's Cu"):
        fitted(bulk("Ni"))
    with pytest.raises(InputError, match="at least 2 members"):
        CommitteeUncertainty.fit(cells, base, small(), members=1)
    with pytest.raises(InputError, match="at least 2 members"):
        CommitteeUncertainty(fitted.members[:1], base, cells)
    with pytest.raises(InputError, match="agree on every environment"):
        CommitteeUncertainty(fitted.members[:1] * 2, base, cells)
    with pytest.raises(InputError, match=r"must know all species of the base, Cu, Ag, and one does not know Ag"):
        CommitteeUncertainty(fitted.members, UncertaintyModel(soap(("Cu", "Ag"))), cells)
    with pytest.raises(InputError, match=r"must see what the members see.*2\.4"):
        CommitteeUncertainty(fitted.members, UncertaintyModel(SOAP(["Cu"], 1.7, 2, 2, 0.2)), cells)
    with pytest.raises(InputError, match=r"atomic_energies\(\), .* has none"):
        CommitteeUncertainty([_Silent(), *fitted.members], base, cells)
    with pytest.raises(InputError, match="weights"):
        fitted.value_and_gradient(cells[0], np.full(len(cells[0]), -1.0))


class _Silent:
    name, species, cutoff = "silent", ("Cu",), 3.0


def test_a_refused_update_changes_nothing(fitted, cells, tmp_path):
    committee = fitted.copy()
    before = committee.save(tmp_path / "before").read_bytes()
    lost = cells[1].copy()
    for frames, masks, message in (
        ([], None, "empty"),
        ([lost], None, "has no energy"),
        (cells[:2], [np.ones(3)], "one per structure"),
        (cells[:1], [np.ones(3)], "one value per atom"),
    ):
        with pytest.raises(InputError, match=message):
            committee.update(frames, masks)
    assert committee.save(tmp_path / "after").read_bytes() == before


def test_an_update_teaches_the_members_and_keeps_the_scale(fitted):
    committee = fitted.copy()
    novel = [labelled(crystal(0.3, strain=0.03, seed=seed)) for seed in range(4)]
    before, samples = committee(novel[0], raw=True).mean(), committee.n_samples["Cu"]
    leader = committee.members[2]
    leader.update(novel, [], steps=40, lr=3e-4, seed=0)
    committee.update(novel, [np.arange(len(atoms)) < 8 for atoms in novel], ForceFieldUpdate(leader, steps=40))
    assert committee.n_samples["Cu"] == samples + 32
    assert committee(novel[0], raw=True).mean() < 0.5 * before
    kept = committee.kept
    values = np.concatenate([committee(a)[mask] for a, mask in zip(kept.frames, kept.masks, strict=True)])
    assert values.mean() == pytest.approx(1.0, rel=1e-9)
    probe = crystal(0.1, seed=70)
    np.testing.assert_array_equal(committee.members[0].atomic_energies()(probe), leader.atomic_energies()(probe))
    assert fitted.n_samples["Cu"] == samples  # the copy is independent


def test_the_sample_of_structures_is_bounded_and_uniform():
    cell = labelled(bulk("Cu"))
    kept, rng = KeptFrames(), np.random.default_rng(0)
    for _ in range(2):
        frames = []
        for _ in range(2 * KEPT):
            cell.calc.results["energy"] = float(kept.n_seen + len(frames))
            frames.append(cell.copy())
            frames[-1].calc = type(cell.calc)(frames[-1], **cell.calc.results)
        kept = kept.with_more(frames, None, rng)
    energies = [atoms.calc.results["energy"] for atoms in kept.frames]
    assert (len(kept), kept.n_seen) == (KEPT, 4 * KEPT)
    assert len(set(energies)) == KEPT
    assert abs(np.mean(energies) - 2 * KEPT) < 4 * 4 * KEPT / np.sqrt(12 * KEPT)


def test_a_saved_one_is_exact_and_goes_on_alike(fitted, cells, tmp_path):
    committee = fitted.copy()
    committee.cover(cells[0], [0])
    committee.cover(cells[0], [3], quarantined=True)
    loaded = CommitteeUncertainty.load(committee.save(tmp_path / "committee.npz"))
    probe = crystal(0.2, seed=31)
    np.testing.assert_array_equal(loaded(probe), committee(probe))
    np.testing.assert_array_equal(loaded.covered(cells[0], 2.0), committee.covered(cells[0], 2.0))
    assert (loaded.n_covered, loaded.n_quarantined) == ({"Cu": 1}, {"Cu": 1})
    no_stress = labelled(crystal(0.2, seed=90))
    del no_stress.calc.results["stress"]
    for each in (loaded, committee):
        each.update([no_stress], learned=ForceFieldUpdate(steps=3))
        each.forget_quarantined()
    paths = [each.save(tmp_path / name) for each, name in ((loaded, "a"), (committee, "b"))]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    again = CommitteeUncertainty.load(paths[0])
    assert again.auto_threshold() == committee.auto_threshold()
    assert again.save(tmp_path / "c").read_bytes() == paths[0].read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9, 0.999])
def test_a_truncated_file_is_refused_by_name(fitted, tmp_path, share):
    assert_cut_short_is_refused(fitted.save(tmp_path / "cut.npz"), share, CommitteeUncertainty.load)


def test_foreign_and_missing_files_are_refused_by_name(fitted, tmp_path):
    fitted.base.save(tmp_path / "soap.npz")
    with pytest.raises(ArtifactError, match=r"soap\.npz holds kind"):
        CommitteeUncertainty.load(tmp_path / "soap.npz")
    with pytest.raises(ArtifactError, match=r"missing\.npz"):
        CommitteeUncertainty.load(tmp_path / "missing.npz")


def test_a_round_on_it(hot):
    """Screen, crop, relax, cover: the shell becomes known, and what was learned does not trigger again."""
    committee, frame = hot
    threshold = committee.auto_threshold()
    found = ScreenedFrame.of(committee, frame, threshold)
    np.testing.assert_array_equal(found.values, committee(frame))
    centre = int(found.centres[0])
    assert centre == int(np.argmax(found.values))
    assert frame.get_distance(centre, len(frame) - 1, mic=True) < committee.cutoff
    crops = crop_search(committee, frame, centre, n_candidates=8, max_atoms=150, rng=np.random.default_rng(0))
    start = max(crops, key=lambda crop: crop.uncertainty)
    relaxed = relax_shell(committee, start, max_steps=60)
    assert relaxed.uncertainty_after < 0.5 * relaxed.uncertainty_before
    np.testing.assert_array_equal(relaxed.atoms.positions[relaxed.core], start.atoms.positions[start.core])
    committee = committee.copy()
    committee.cover(relaxed.atoms, [relaxed.centre])
    assert committee.covered(frame, threshold, [centre]).all()
    assert not ScreenedFrame.of(committee, frame, threshold).triggering[centre]


def test_the_calculator_takes_it(fitted):
    atoms = crystal(0.15, seed=8)
    atoms.calc = UncertaintyCalculator(fitted)
    assert atoms.get_potential_energy() == pytest.approx(fitted(atoms).mean())
    np.testing.assert_allclose(-atoms.get_forces(), fitted.value_and_gradient(atoms)[1])


FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture(scope="module")
def universal(cells):
    """Two pretrained models, of two architectures, that know more than copper."""
    members = [pretrained_force_field(FIXTURES / file, {}) for file in ("sevennet/small.pth", "chgnet/small.pth.tar")]
    assert all(set(member.species) > {"Cu"} for member in members)
    base = UncertaintyModel.fit(cells, SOAP(["Cu"], 3.3, 3, 3, 0.35))
    return CommitteeUncertainty(members, base, cells)


def test_pretrained_models_of_two_architectures_are_a_committee(universal, cells, tmp_path):
    assert [member.name for member in universal.members] == ["sevennet", "chgnet"]
    trained = np.concatenate([universal(atoms) for atoms in cells])
    assert trained.mean() == pytest.approx(1.0)
    atoms = cells[0].copy()
    atoms.positions[7] += [0.4, -0.3, 0.2]
    _, in_positions, _ = universal.value_and_gradient(atoms)
    values = []
    for step in (1e-3, -1e-3):
        moved = atoms.copy()
        moved.positions[7, 0] += step
        values.append(universal.value_and_gradient(moved)[0])
    assert in_positions[7, 0] == pytest.approx((values[0] - values[1]) / 2e-3, rel=0.02)
    again = CommitteeUncertainty.load(universal.save(tmp_path / "u"))
    assert np.array_equal(again(atoms), universal(atoms))
    again.update(cells[:1], learned=ForceFieldUpdate(steps=1, n_replay=1))
    assert np.isfinite(again(atoms)).all()
    assert not np.array_equal(again(atoms), universal(atoms))


def test_members_begin_from_pretrained_weights_and_none_may_be_frozen_whole(cells):
    weights = pretrained_force_field(FIXTURES / "sevennet" / "small.pth", {"fit_learning_rate": 1e-3})
    weights.start_here()
    base = UncertaintyModel.fit(cells, SOAP(["Cu"], 3.3, 3, 3, 0.35))
    committee = CommitteeUncertainty.fit(cells, base, weights, members=2, steps=2, seed=1)
    assert [set(member.species) for member in committee.members] == [{"Al", "Cu"}] * 2
    before = weights.errors(cells)
    for member in committee.members:  # two steps from the weights, not from random ones
        np.testing.assert_allclose(member.errors(cells)[:, 1], before[:, 1], rtol=0.1)
    with pytest.raises(InputError, match="all parameters are frozen"):
        CommitteeUncertainty.check(weights.with_settings(freeze=["*"]))
