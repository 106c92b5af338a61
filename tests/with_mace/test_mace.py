"""MACE by the base of message passing: run by `make test-mace` in an environment of its own. mace-torch is the oracle."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from idealflow.errors import InputError
from idealflow.forcefields import get_force_field, load_force_field
from idealflow.testing import check_force_field
from support.labelled_cells import copper_cells

pytestmark = pytest.mark.mace
SMALL = {"channels": 8, "l_max": 2, "correlation": 2, "radial_hidden": [8], "cutoff": 4.0}


@pytest.fixture(scope="module")
def salt():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(atoms.cell.array @ np.array([[1, 0.12, -0.04], [0, 1, 0.07], [0, 0, 0.98]]), scale_atoms=True)
    return atoms


def of_mace(network, settings, atoms, species):
    """Energy, forces and stress by mace-torch's own forward pass with the same weights."""
    from ase.data import atomic_numbers
    from mace import data, modules
    from mace.tools import torch_geometric, utils

    from e3nn import o3  # isort: skip  # mace lets it be imported

    numbers = [atomic_numbers[symbol] for symbol in species]
    channels, degree = settings["channels"], settings["degree"]
    kind = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    theirs = modules.ScaleShiftMACE(
        r_max=settings["cutoff"], num_bessel=settings["n_radial"], num_polynomial_cutoff=5, max_ell=settings["l_max"],
        interaction_cls=kind, interaction_cls_first=kind, num_interactions=settings["n_layers"], num_elements=len(numbers),
        hidden_irreps=o3.Irreps("+".join(f"{channels}x{l}{'eo'[l % 2]}" for l in range(degree + 1))),
        MLP_irreps=o3.Irreps(f"{settings['readout']}x0e"), atomic_energies=network.reference.numpy(),
        avg_num_neighbors=float(network.neighbours), atomic_numbers=numbers, correlation=settings["correlation"],
        gate=torch.nn.functional.silu, radial_MLP=settings["radial_hidden"],
        atomic_inter_scale=float(network.scale[0]), atomic_inter_shift=0.0,
    )  # fmt: skip
    weights = dict(network.named_parameters())
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert not unexpected
    assert not [name for name in missing if name in dict(theirs.named_parameters())]
    theirs = theirs.double()
    table = utils.AtomicNumberTable(numbers)
    config = data.config_from_atoms(atoms)
    torch.set_default_dtype(torch.float64)
    try:
        batch = torch_geometric.Batch.from_data_list(
            [data.AtomicData.from_config(config, z_table=table, cutoff=settings["cutoff"])]
        )
        found = theirs(batch.to_dict(), compute_stress=True)
    finally:
        torch.set_default_dtype(torch.float32)
    return float(found["energy"]), found["forces"].detach().numpy(), found["stress"][0].detach().numpy()


@pytest.mark.parametrize(("degree", "n_layers"), [(0, 2), (1, 3)])
def test_energy_forces_and_stress_are_those_of_mace(salt, degree, n_layers):
    learner = get_force_field(
        "mace", species=["Na", "Cl"], degree=degree, n_layers=n_layers, precision="double", **SMALL
    )
    learner.network.seen[:] = True
    learner.network.reference[:] = torch.tensor([-1.0, -2.0])
    learner.network.scale[:] = 0.3
    learner.network.neighbours.fill_(17.0)
    atoms = salt.copy()
    atoms.calc = learner.calculator()
    energy, forces, stress = of_mace(learner.network, learner.settings, salt, learner.species)
    assert abs(atoms.get_potential_energy() - energy) / len(atoms) < 1e-6
    np.testing.assert_allclose(atoms.get_forces(), forces, rtol=0, atol=1e-5)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), stress, rtol=0, atol=1e-6)


def test_parts_and_surroundings_have_the_energies_of_the_whole(salt):
    learner = get_force_field("mace", species=["Na", "Cl"], degree=1, precision="double", **SMALL)
    learner.network.seen[:] = True
    large = salt * 4
    whole, parts = (learner.calculator(pairs_at_once=n) for n in (None, 500))
    forces = []
    for calculator in (whole, parts):
        large.calc = calculator
        forces.append(large.get_forces())
    np.testing.assert_allclose(forces[0], forces[1], rtol=0, atol=1e-10)
    energies = learner.atomic_energies()
    np.testing.assert_allclose(energies(large, [3, 100]), energies(large)[[3, 100]], rtol=0, atol=1e-10)


def test_the_kit_passes():
    cells = copper_cells(4, 1)
    check_force_field(get_force_field("mace", species=["Cu"], precision="double", **SMALL), cells, steps=3)


def test_it_learns_and_its_file_is_exact(tmp_path):
    cells = copper_cells(8, 1)
    learner = get_force_field("mace", species=["Cu"], **SMALL)
    report = learner.fit(cells, steps=80, seed=1)
    assert np.mean(report.loss[-10:]) < 0.5 * report.loss[0]
    learner.update(cells[:2], cells[2:], steps=4, seed=2)
    again = load_force_field(learner.save(tmp_path / "mace"))
    assert np.array_equal(again.errors(cells), learner.errors(cells))
    assert 5.0 < float(again.network.neighbours) < 60.0


def test_lonely_atoms_have_the_energy_of_their_species():
    learner = get_force_field("mace", species=["Na", "Cl"], **SMALL)
    learner.network.seen[:] = True
    far = Atoms("NaCl", [[0, 0, 0], [0, 0, 20.0]])
    far.calc = learner.calculator()
    assert np.abs(far.get_forces()).max() == 0.0


def test_a_degree_beyond_the_harmonics_is_refused():
    with pytest.raises(InputError, match="degree must be at most l_max, 2, got 3"):
        get_force_field("mace", species=["Cu"], **{**SMALL, "degree": 3})
