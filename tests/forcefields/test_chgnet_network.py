"""CHGNet in plain torch: against stored results of its package, parts, a pretrained start, refusals."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from idealflow.errors import ArtifactError, InputError, MissingExtraError
from idealflow.forcefields import get_force_field, load_force_field
from idealflow.forcefields.chgnet import CHGNetForceField, from_chgnet
from idealflow.forcefields.message_passing import Evaluator, frame_of, graph_of
from support.labelled_cells import copper_cells

FIXTURES = Path(__file__).parents[1] / "fixtures" / "chgnet"
SMALL = {"pretrained": None, "units": 6, "n_layers": 3, "n_radial": 5, "n_angular": 5, "cutoff": 3.8, "n_hidden": 1}


@pytest.fixture(scope="module")
def known():
    """A small model of chgnet, read."""
    return from_chgnet(FIXTURES / "small.pth.tar")


@pytest.fixture(scope="module")
def cells():
    return copper_cells(3, 5)


def made_of(known, species=None, **others):
    made = CHGNetForceField.with_weights(*known, species=species, pretrained=None, **others)
    made.start_here()
    return made


@pytest.fixture(scope="module")
def alloy():
    stored = json.loads((FIXTURES / "small.json").read_text())
    return stored, Atoms(stored["symbols"], stored["positions"], cell=stored["cell"], pbc=True)


def test_a_model_of_chgnet_gives_what_chgnet_says(known, alloy):
    stored, atoms = alloy
    atoms.calc = made_of(known, precision="double").calculator()
    assert atoms.get_potential_energy() == pytest.approx(stored["energy"], abs=1e-4)
    np.testing.assert_allclose(atoms.get_forces(), stored["forces"], rtol=0, atol=2e-5)
    np.testing.assert_allclose(atoms.get_stress(), stored["stress"], rtol=0, atol=1e-6)


def test_a_left_handed_cell_has_the_stress_of_the_same_crystal_and_positions_that_are_not_finite_are_refused(
    known, alloy
):
    calculator = made_of(known, precision="double").calculator()
    one, other = alloy[1].copy(), alloy[1].copy()
    other.set_cell(-one.cell.array)
    one.calc = other.calc = calculator
    np.testing.assert_allclose(other.get_stress(), one.get_stress(), rtol=0, atol=1e-10)
    other.positions[3, 1] = np.nan
    with pytest.raises(InputError, match="positions must be finite, atom 3"):
        other.get_potential_energy()


def test_parts_and_surroundings_have_the_energies_of_the_whole(known):
    learner = made_of(known, precision="double")
    large = bulk("Cu", cubic=True) * 4
    large.symbols[::5] = "Al"
    large.rattle(0.1, seed=1)
    forces = []
    for pairs_at_once in (None, 700):
        large.calc = learner.calculator(pairs_at_once)
        forces.append(large.get_forces())
    np.testing.assert_allclose(forces[1], forces[0], rtol=0, atol=1e-10)
    energies = learner.atomic_energies()
    lone = bulk("Cu", cubic=True) * (12, 2, 2)
    lone.rattle(0.1, seed=2)
    np.testing.assert_allclose(energies(lone, [0]), energies(lone)[[0]], rtol=0, atol=1e-10)


def test_frames_without_the_reverse_of_pairs_are_refused(known):
    network = made_of(known, ["Cu"]).network
    frame = frame_of(bulk("Cu"), np.zeros(1, dtype=np.int64), cutoff=4.5)
    with pytest.raises(InputError, match=r"frame_of\(\.\.\., undirected=True\)"):
        network(graph_of(frame))
    with pytest.raises(InputError, match=r"frame_of\(\.\.\., undirected=True\)"):
        Evaluator(network, 4.5, pairs_at_once=10).with_slopes(frame)


def test_bonds_beyond_those_that_form_angles_and_lonely_atoms_are_no_exception(known):
    learner = made_of(known, precision="double")
    for distance in (3.0, 3.199, 3.201, 4.4, 9.0):
        pair = Atoms("CuAl", [[0, 0, 0], [0, 0, distance]], calculator=learner.calculator())
        assert np.isfinite(pair.get_forces()).all()
    assert np.abs(pair.get_forces()).max() == 0.0


def test_a_fit_begins_from_the_weights_with_energies_of_the_species_set_in_closed_form(known, cells, tmp_path):
    before, after = made_of(known, ["Cu"]), made_of(known, ["Cu"], freeze=["*"])
    assert after.fit(cells).steps == 0
    one, other = before.errors(cells), after.errors(cells)
    np.testing.assert_allclose(other[:, 1], one[:, 1], rtol=1e-5)  # forces are those of the weights
    assert other[:, 0].mean() < 0.2 * one[:, 0].mean()
    learned = made_of(known, ["Cu"], fit_learning_rate=0.01)
    learned.fit(cells, steps=30, seed=1)
    assert learned.errors(cells)[:, 1].mean() < 0.9 * one[:, 1].mean()
    stored = load_force_field(learned.save(tmp_path / "a"))
    assert stored.save(tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_foreign_and_truncated_files_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match="does not exist"):
        from_chgnet(tmp_path / "absent")
    whole = (FIXTURES / "small.pth.tar").read_bytes()
    for content in (b"", b"no weights", whole[: len(whole) // 2], whole[:-300]):
        (tmp_path / "cut.pth").write_bytes(content)
        with pytest.raises(ArtifactError, match=r"is not chgnet's checkpoint, or is damaged"):
            from_chgnet(tmp_path / "cut.pth")
    torch.save({"model": {"model_args": {}, "state_dict": {}}}, tmp_path / "empty.pth")
    with pytest.raises(InputError, match="without energies of the species"):
        from_chgnet(tmp_path / "empty.pth")
    torch.save({"model": {"model_args": {"gMLP_norm": None}, "state_dict": {}}}, tmp_path / "old.pth")
    with pytest.raises(InputError, match="holds a CHGNet with gMLP_norm = None, only 'layer' is read here"):
        from_chgnet(tmp_path / "old.pth")


@pytest.mark.skipif(find_spec("chgnet") is not None, reason="the package is there")
def test_without_the_package_its_weights_are_refused_with_the_command_that_installs_them():
    with pytest.raises(MissingExtraError, match=r"pip install 'idealflow\[chgnet\]'"):
        get_force_field("chgnet", species=["Cu"])
    with pytest.raises(InputError, match=r"called 'chgnet-0.3.1' \(did you mean 'chgnet-0.3.0'\?\)"):
        get_force_field("chgnet", species=["Cu"], pretrained="chgnet-0.3.1")


def test_the_old_weights_are_refused_with_the_reason():
    with pytest.raises(InputError, match=r"chgnet-0\.2\.0 add a constant to every bond .* take chgnet-0\.3\.0"):
        get_force_field("chgnet", species=["Cu"], pretrained="chgnet-0.2.0")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_layers": 1}, "n_layers must be a whole number, at least 2"),
        ({"n_angular": 4}, "n_angular must be odd"),
        ({"three_body_cutoff": 4.0}, r"three_body_cutoff must be positive and at most cutoff, 3\.8 Å"),
        ({"cutoff_power": 0}, "cutoff_power must be a positive number"),
    ],
)
def test_impossible_settings(wrong, message):
    with pytest.raises(InputError, match=message):
        CHGNetForceField(["Cu"], **{**SMALL, **wrong})
