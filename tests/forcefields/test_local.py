import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import thermalize_momenta
from ase.md.verlet import VelocityVerlet

from idealflow.errors import InputError
from idealflow.forcefields import ForceField, get_force_field
from idealflow.forcefields.conformance import relabelled
from idealflow.forcefields.local import calculator as calculator_module
from idealflow.forcefields.registry import FORCE_FIELDS
from idealflow.testing import check_force_field
from support.labelled_cells import alloy_cells, labelled

TIGHT = {"displacement": 1e-4, "force_tolerance": 1e-6, "stress_tolerance": 1e-7, "symmetry_tolerance": 1e-10}


def predicted(force_field, atoms):
    frame = atoms.copy()
    frame.calc = force_field.calculator()
    return frame.get_potential_energy(), frame.get_forces()


def test_conforms_with_one_species(copper):
    assert isinstance(get_force_field("local", species=["Cu"]), ForceField)
    check_force_field(get_force_field("local", species=["Cu"]), copper[:5], **TIGHT)


def test_conforms_with_two_species():
    check_force_field(get_force_field("local", species=["Ni", "Al"], cutoff=4.5), alloy_cells(4, 1), **TIGHT)


def test_learns_copper(trained, held_out):
    errors = trained.errors(held_out).mean(axis=0)
    assert errors[0] < 0.010  # eV/atom
    assert errors[1] < 0.060  # eV/Å; the forces' own mean is about 1
    assert errors[2] < 0.005  # eV/Å³


def test_learns_two_species():
    force_field = get_force_field("local", species=["Ni", "Al"])
    force_field.fit(alloy_cells(24, 1), steps=300)
    errors = force_field.errors(alloy_cells(8, 2)).mean(axis=0)
    assert errors[0] < 0.020
    assert errors[1] < 0.120


def test_an_update_learns_the_new_and_keeps_the_old(trained, copper, held_out):
    new = []
    for seed in range(4):
        stretched = bulk("Cu", cubic=True, a=4.1).repeat(2)
        stretched.rattle(0.25, seed=seed)
        new.append(labelled(stretched))
    before_new, before_old = trained.errors(new[2:]).mean(axis=0), trained.errors(held_out).mean(axis=0)
    learner = trained.copy()
    learner.update(new[:2], copper, steps=100, lr=1e-3, seed=0)
    after_new, after_old = learner.errors(new[2:]).mean(axis=0), learner.errors(held_out).mean(axis=0)
    assert after_new[0] < 0.6 * before_new[0]
    assert after_old[1] < 1.5 * before_old[1]
    assert after_old[0] < before_old[0] + 0.005


def test_perfect_crystals_alone_do_not_make_a_wild_force_field():
    perfect = [labelled(bulk("Cu", cubic=True, a=a).repeat(2)) for a in (3.5, 3.6, 3.7)]
    force_field = get_force_field("local", species=["Cu"])
    force_field.fit(perfect, steps=100)
    shaken = perfect[1].copy()
    shaken.rattle(0.05, seed=0)
    shaken = labelled(shaken)
    assert force_field.errors([shaken])[0, 1] < 3 * np.abs(shaken.calc.results["forces"]).mean()


def test_energies_are_of_each_atom_and_local(trained):
    atoms = bulk("Cu", cubic=True, a=3.62).repeat(5)
    atoms.rattle(0.1, seed=0)
    atoms.calc = trained.calculator()
    before = atoms.get_potential_energies()
    assert before.sum() == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    distances = atoms.get_distances(0, range(len(atoms)), mic=True)
    atoms.positions[0] += 0.1
    changed = np.abs(atoms.get_potential_energies() - before) > 1e-9
    assert changed[distances < trained.cutoff - 0.5].all()
    assert not changed[distances > trained.cutoff + 0.2].any()
    assert (distances > trained.cutoff + 0.2).sum() > 100


def test_a_frame_in_pieces_equals_the_frame_in_one(trained, copper, monkeypatch):
    whole = predicted(trained, copper[3])
    monkeypatch.setattr(calculator_module, "CENTRES_AT_ONCE", 7)
    pieces = predicted(trained, copper[3])
    assert pieces[0] == pytest.approx(whole[0], abs=1e-10)
    np.testing.assert_allclose(pieces[1], whole[1], atol=1e-12)


def test_a_supercell_has_the_energy_of_its_cells(trained, copper):
    energy, forces = predicted(trained, copper[1])
    energies, repeated = predicted(trained, copper[1].repeat((2, 1, 1)))
    assert energies == pytest.approx(2 * energy, abs=1e-9)
    np.testing.assert_allclose(repeated, np.vstack([forces, forces]), atol=1e-11)


def test_a_calculator_keeps_what_it_was_made_with(trained, copper):
    learner = trained.copy()
    frame = copper[0].copy()
    frame.calc = learner.calculator()
    before = frame.get_potential_energy()
    learner.update(copper[:2], copper[2:], steps=2, lr=1e-3, seed=0)
    frame.calc.reset()
    assert frame.get_potential_energy() == before


def test_clusters_have_no_stress_and_single_atoms_no_forces(trained):
    atom = Atoms("Cu", positions=[[0.0, 0.0, 0.0]])
    energy, forces = predicted(trained, atom)
    assert np.isfinite(energy)
    assert not forces.any()
    cluster = Atoms("Cu3", positions=[[0.0, 0.0, 0.0], [2.4, 0.0, 0.0], [4.8, 0.0, 0.0]])
    cluster.calc = trained.calculator()
    assert np.isfinite(cluster.get_forces()).all()
    assert "stress" not in cluster.calc.results


def test_clusters_can_be_learned_from(trained, copper):
    cluster = Atoms("Cu4", positions=[[0.0, 0, 0], [2.5, 0, 0], [0, 2.5, 0], [0, 0, 2.6]])
    zero = np.zeros((4, 3))
    cluster = relabelled(cluster, {"energy": 10.0, "forces": zero})
    learner = trained.copy()
    before = learner.errors([cluster])
    after = learner.update([cluster], copper, steps=50, lr=1e-3, seed=0).errors
    assert np.isnan(after[0, 2])
    assert after[0, 0] < before[0, 0]


def test_energy_is_conserved(trained):
    atoms = bulk("Cu", cubic=True, a=3.63).repeat(3)
    atoms.calc = trained.calculator()
    thermalize_momenta(atoms, temperature_K=600, rng=np.random.default_rng(0))
    energies = []
    dynamics = VelocityVerlet(atoms, 2 * units.fs)
    dynamics.attach(lambda: energies.append(atoms.get_total_energy()), interval=5)
    dynamics.run(500)
    per_atom = np.array(energies) / len(atoms)
    drift = np.polyfit(np.arange(len(per_atom)), per_atom, 1)[0] * len(per_atom)
    assert abs(drift) < 1e-4  # eV per atom and picosecond; kT is 0.05
    assert np.ptp(per_atom) < 1e-3


def test_a_hot_liquid_beyond_the_data_does_not_collapse(trained):
    atoms = bulk("Cu", cubic=True, a=3.7).repeat(2)
    atoms.calc = trained.calculator()
    rng = np.random.default_rng(1)
    thermalize_momenta(atoms, temperature_K=6000, rng=rng)
    nearest = []

    def look():
        distances = atoms.get_all_distances(mic=True)
        nearest.append(distances[np.triu_indices(len(atoms), 1)].min())

    dynamics = Langevin(atoms, 1 * units.fs, temperature_K=6000, friction=0.05 / units.fs, rng=rng, fixcm=False)
    dynamics.attach(look, interval=5)
    dynamics.run(400)
    assert min(nearest) > 1.3
    assert atoms.get_temperature() < 12000


def test_atoms_repel_at_any_short_distance(trained):
    atoms = Atoms("Cu2", positions=[[0.0, 0, 0], [1.0, 0, 0]])
    atoms.calc = trained.calculator()
    pulls = []
    for distance in np.linspace(0.3, 1.2, 10):
        atoms.positions[1, 0] = distance
        pulls.append(atoms.get_forces()[1, 0])
    assert min(pulls) > 0


def test_an_untrained_force_field_predicts_nothing(copper):
    force_field = get_force_field("local", species=["Cu"])
    with pytest.raises(InputError, match="call fit first"):
        force_field.calculator()
    with pytest.raises(InputError, match="call fit first"):
        force_field.update(copper[:1], copper[1:], steps=1, lr=1e-4, seed=0)


def test_a_species_the_fit_never_saw_is_refused_with_the_remedy(copper):
    force_field = get_force_field("local", species=["Cu", "Ag"])
    force_field.fit(copper[:4], steps=3)
    foreign = copper[4].copy()
    foreign.symbols[0] = "Ag"
    foreign = labelled(foreign)
    with pytest.raises(InputError, match=r"Ag was in none of the structures.*fit again"):
        force_field.update([foreign], copper[:4], steps=1, lr=1e-4, seed=0)
    with pytest.raises(InputError, match="Ag"):
        predicted(force_field, foreign)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"steps": 1.5}, {"lr": 0.0}, {"lr": float("nan")}])
def test_impossible_training_settings_are_refused(trained, copper, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        trained.copy().update(copper[:1], copper[1:], **{"steps": 1, "lr": 1e-4, "seed": 0, **wrong})


def test_a_seed_decides(copper):
    models = []
    for seed in (1, 1, 2):
        force_field = get_force_field("local", species=["Cu"])
        force_field.fit(copper[:6], steps=10, seed=seed)
        models.append(predicted(force_field, copper[7])[0])
    assert models[0] == models[1] != models[2]


def test_progress_is_told_to_the_end(copper):
    seen = []
    get_force_field("local", species=["Cu"]).fit(copper[:4], steps=7, progress=lambda *row: seen.append(row))
    assert [row[0] for row in seen] == list(range(1, 8))
    assert {row[1] for row in seen} == {7}


def test_the_kit_finds_what_is_broken(copper, monkeypatch):
    from idealflow.forcefields.local import LocalForceField

    class Forgetful(LocalForceField):
        name = "forgetful"

        def save(self, path):
            self._optimiser_state = None
            return super().save(path)

    monkeypatch.setitem(FORCE_FIELDS.registered, "forgetful", Forgetful)
    with pytest.raises(AssertionError, match="optimiser"):
        check_force_field(Forgetful(["Cu"]), copper[:2], steps=3)

    class Wandering(Calculator):
        """Gives the forces of another structure each time."""

        implemented_properties = calculator_module.LocalCalculator.implemented_properties

        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
            super().calculate(atoms, properties, system_changes)
            moved = self.atoms.copy()
            moved.rattle(0.01, rng=np.random.default_rng())
            self.inner.calculate(moved, properties, system_changes)
            self.results = self.inner.results

    class Drifting(LocalForceField):
        name = "drifting"

        def calculator(self):
            return Wandering(super().calculator())

    monkeypatch.setitem(FORCE_FIELDS.registered, "drifting", Drifting)
    with pytest.raises(AssertionError, match="depend on the frame alone"):
        check_force_field(Drifting(["Cu"]), copper[:2], steps=3)


def test_labels_may_lack_stress_in_part(copper):
    mixed = [*copper[:3], relabelled(copper[3], {k: copper[3].calc.results[k] for k in ("energy", "forces")})]
    errors = get_force_field("local", species=["Cu"]).fit(mixed, steps=5).errors
    assert np.isnan(errors[:, 2]).tolist() == [False, False, False, True]
