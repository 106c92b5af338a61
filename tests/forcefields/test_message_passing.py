"""Force fields by message passing: M3GNet against finite differences and stored results of matgl, parts against the whole."""

import gc
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms
from scipy.special import spherical_jn

from idealflow.errors import ArtifactError, InputError
from idealflow.forcefields import get_force_field, load_force_field, reach_of
from idealflow.forcefields.m3gnet import M3GNetForceField, from_matgl, from_mattersim
from idealflow.forcefields.m3gnet.basis import BesselFunctions, SmoothFunctions
from idealflow.forcefields.message_passing import Evaluator, evaluation, frame_of
from idealflow.forcefields.message_passing.devices import memory_budget
from idealflow.forcefields.toolkit import absolute_errors
from support.labelled_cells import copper_cells

FIXTURES = Path(__file__).parents[1] / "fixtures"

SMALL = {"species": ["Al", "Cu"], "n_blocks": 2, "units": 6, "max_n": 2, "max_l": 3}


def with_random_weights(**settings):
    made = M3GNetForceField(**{**SMALL, "precision": "double", **settings})
    state = made.network.state_dict()
    made.take_weights({**state, "scale": torch.full((2,), 30.0), "seen": torch.ones(2, dtype=torch.bool)})
    return made


@pytest.fixture(scope="module")
def alloy():
    (atoms,) = copper_cells(1, 3)
    atoms.calc = None
    atoms.symbols[::3] = "Al"
    return atoms


@pytest.mark.parametrize("variant", ["matgl-smooth", "matgl"])
def test_a_model_of_matgl_gives_what_matgl_says(variant):
    stored = json.loads((FIXTURES / "m3gnet" / f"{variant}.json").read_text())
    state = {name: torch.tensor(value, dtype=torch.float64) for name, value in stored["state"].items()}
    settings, weights = from_matgl(state, stored["elements"], max_n=stored["max_n"])
    assert settings["variant"] == variant
    force_field = M3GNetForceField.with_weights(settings, weights, precision="double")
    atoms = Atoms(
        stored["symbols"], stored["positions"], cell=stored["cell"], pbc=True, calculator=force_field.calculator()
    )
    assert atoms.get_potential_energy() == pytest.approx(stored["energy"], abs=1e-5)
    np.testing.assert_allclose(atoms.get_forces(), stored["forces"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(atoms.get_stress(), stored["stress"], rtol=0, atol=1e-6)


def test_a_model_of_mattersim_gives_what_mattersim_says():
    stored = json.loads((FIXTURES / "m3gnet" / "mattersim.json").read_text())
    state = {name: torch.tensor(value, dtype=torch.float64) for name, value in stored["state"].items()}
    settings, weights = from_mattersim(state)
    assert (settings["variant"], settings["species"][-1]) == ("mattersim", "Cu")
    force_field = M3GNetForceField.with_weights(settings, weights, species=["Al", "Cu"], precision="double")
    atoms = Atoms(
        stored["symbols"], stored["positions"], cell=stored["cell"], pbc=True, calculator=force_field.calculator()
    )
    assert atoms.get_potential_energy() == pytest.approx(stored["energy"], rel=1e-6)  # weights in single precision
    assert np.abs(stored["forces"]).max() > 1.0
    np.testing.assert_allclose(atoms.get_forces(), stored["forces"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(atoms.get_stress(voigt=False), stored["stress"], rtol=0, atol=1e-6)
    fewer = {name: value[:2] if name.endswith("atom_mlp.linear.weight") else value for name, value in state.items()}
    with pytest.raises(
        InputError, match="mixes up numbers of radial functions and degrees where they differ, here 2 and 1"
    ):
        from_mattersim(fewer)


def test_foreign_weights_are_refused_by_name():
    with pytest.raises(InputError, match=r"'embedding\.layer_node_embedding\.weight'"):
        from_matgl({"weight": torch.zeros(1)}, ["Cu"])
    with pytest.raises(InputError, match=r"'head\.weight' is no part"):
        from_matgl({"embedding.layer_node_embedding.weight": torch.zeros(1, 4), "head.weight": torch.zeros(1)}, ["Cu"])
    with pytest.raises(InputError, match=r"atom_embedding"):
        from_mattersim({"weight": torch.zeros(1)})


@pytest.mark.parametrize("variant", ["paper", "mattersim", "matgl-smooth", "matgl"])
def test_forces_are_slopes_of_the_energy(alloy, variant):
    alloy.calc = with_random_weights(variant=variant).calculator()
    forces, step = alloy.get_forces(), 1e-4
    assert np.abs(forces).max() > 1e-3
    for atom, axis in ((0, 0), (4, 2)):
        energies = []
        for sign in (1, -1):
            moved = alloy.copy()
            moved.calc = alloy.calc
            moved.positions[atom, axis] += sign * step
            energies.append(moved.get_potential_energy())
        assert forces[atom, axis] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=1e-6)


@pytest.mark.parametrize("variant", ["paper", "mattersim"])
def test_parts_are_the_whole(alloy, variant):
    force_field = with_random_weights(variant=variant, n_blocks=3)
    said = []
    for size in (10**9, 300, 1):
        frame = alloy.copy()
        frame.calc = force_field.calculator(pairs_at_once=size)
        said.append((frame.get_potential_energies(), frame.get_forces(), frame.get_stress()))
    for parts in said[1:]:
        for found, whole in zip(parts, said[0], strict=True):
            np.testing.assert_allclose(found, whole, rtol=0, atol=1e-11)


def test_energies_of_some_atoms_and_their_gradients_in_parts(alloy):
    force_field, some = with_random_weights(), np.array([1, 5])
    whole, parts = (force_field.atomic_energies(pairs_at_once=size) for size in (10**9, 200))
    weights = np.array([1.0, -2.0])
    np.testing.assert_allclose(parts(alloy, some), whole(alloy, some), rtol=0, atol=1e-11)
    one, other = whole.linearised(alloy, some), parts.linearised(alloy, some)
    for _ in range(2):  # the second time from a forward pass of its own
        for found, expected in zip(other[1](weights), one[1](weights), strict=True):
            np.testing.assert_allclose(found, expected, rtol=0, atol=1e-11)


def test_energies_of_some_atoms_need_their_surroundings_only(alloy):
    row = alloy * (1, 1, 12)
    energies = with_random_weights(cutoff=3.0, three_body_cutoff=3.0).atomic_energies()
    some = np.array([0, 40])
    np.testing.assert_allclose(energies(row, some), energies(row)[some], rtol=0, atol=1e-11)


def test_errors_are_computed_many_structures_at_once(monkeypatch):
    cells = copper_cells(5, 3)
    del cells[1].calc.results["stress"]
    learner = M3GNetForceField(["Cu"], n_blocks=1, units=4)
    learner.fit(cells, steps=2)
    one_by_one = absolute_errors(learner.calculator(), cells, ["Cu"])
    passes, own = [], Evaluator.with_slopes
    monkeypatch.setattr(
        Evaluator, "with_slopes", lambda self, frame: passes.append(len(frame.kind)) or own(self, frame)
    )
    n_pairs = len(learner.samples(cells[:1])[0].frame.pairs.j)
    bytes_per_pair = evaluation.memory_budget(torch.device("cpu")) / Evaluator(learner.network, 5.0).pairs_at_once
    for budget, n_passes in ((10 * n_pairs, 1), (2.2 * n_pairs, 3), (1, 5)):
        passes.clear()
        monkeypatch.setattr(evaluation, "memory_budget", lambda _, n=budget: int(n * bytes_per_pair))
        np.testing.assert_allclose(learner.errors(cells), one_by_one, rtol=1e-4, atol=1e-6)
        assert (len(passes), sum(passes)) == (n_passes, sum(map(len, cells)))


def test_parts_fit_into_what_other_processes_leave_of_a_gpu(monkeypatch):
    gigabyte = 1 << 30
    for free, own, budget in ((80, 0, 10.0), (20, 0, 10.0), (10, 60, 10.0), (12, 0, 5.0), (4, 1, 2.5)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, n=free: (n * gigabyte, 80 * gigabyte))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _, n=own: n * gigabyte)
        assert memory_budget(torch.device("cuda")) / gigabyte == budget


def test_reach_is_a_cutoff_a_layer_and_no_further():
    force_field = with_random_weights(cutoff=3.0, three_body_cutoff=3.0)
    assert reach_of(force_field) == force_field.reach == 6.0
    assert reach_of(get_force_field("local", species=["Cu"], cutoff=4.0)) == 4.0
    chain = [[0, 0, 2.5 * i] for i in range(5)]
    energies = force_field.atomic_energies()
    first = energies(Atoms("Cu5", chain))[0]
    for atom, changes in ((2, True), (4, False)):
        moved = np.array(chain)
        moved[atom, 0] += 0.3
        assert (energies(Atoms("Cu5", moved))[0] != first) == changes


def test_single_precision_is_close_to_double(alloy):
    double, single = with_random_weights(), with_random_weights(precision="single")
    single.take_weights(double.network.state_dict())
    said = []
    for force_field in (double, single):
        alloy.calc = force_field.calculator()
        said.append(alloy.get_forces())
    assert 0.0 < np.abs(said[0] - said[1]).max() < 1e-4 * np.abs(said[0]).max() + 1e-5


def test_files_hold_everything_but_the_device(alloy, tmp_path):
    force_field = with_random_weights()
    loaded = load_force_field(force_field.save(tmp_path / "a"))
    assert loaded.save(tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    assert b"device" not in (tmp_path / "a").read_bytes().partition(b"\n")[0]
    assert get_force_field("m3gnet-small", species=["Cu"]).settings["units"] == 32
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "c").write_bytes(whole[:-100])
    with pytest.raises(ArtifactError, match="damaged"):
        load_force_field(tmp_path / "c")


def test_a_fit_that_is_stopped_goes_on_to_the_bit(tmp_path):
    cells = copper_cells(3, 7)
    settings = {"species": ["Cu"], "n_blocks": 1, "units": 4, "batch_size": 1}
    whole, parts = M3GNetForceField(**settings), M3GNetForceField(**settings)
    report = whole.fit(cells, steps=4, seed=1)
    calls = 0
    while True:
        calls += 1
        stopped = parts.fit(cells, steps=4, seed=1, checkpoint=tmp_path / "kept", deadline=0.0)
        if stopped.finished:
            break
    assert calls == 4
    assert stopped.loss == report.loss
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, parts.network.state_dict()[name])


def test_an_update_that_is_stopped_goes_on_to_the_bit(tmp_path):
    cells = copper_cells(3, 7)
    start = M3GNetForceField(["Cu"], n_blocks=1, units=4, batch_size=2)
    start.fit(cells, steps=2, seed=1)
    whole, told = start.copy(), []
    report = whole.update(cells[:1], cells[1:], steps=3, lr=1e-3, seed=2, progress=lambda *step: told.append(step[:2]))
    assert told[-1] == (3, 3)
    for _ in range(3):
        parts = start.copy()  # as a process that was killed has it
        stopped = parts.update(
            cells[:1], cells[1:], steps=3, lr=1e-3, seed=2, checkpoint=tmp_path / "kept", deadline=0.0
        )
    assert stopped.finished
    assert stopped.loss == report.loss
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, parts.network.state_dict()[name])
    again = [each.save(tmp_path / name).read_bytes() for each, name in ((whole, "a"), (parts, "b"))]
    assert again[0] == again[1]


def test_an_update_sets_the_energies_of_the_species_anew():
    cells = copper_cells(3, 8)
    learner = M3GNetForceField(["Cu"], n_blocks=1, units=4)
    learner.fit(cells, steps=2)
    learner.network.reference += 0.5
    report = learner.update(cells[:1], cells[1:], steps=1, lr=1e-6)
    assert report.errors[0, 0] < 0.25
    assert learner.consolidate(cells, steps=2, lr=1e-4).finished


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"variant": "papr"}, r"variant .* \(did you mean 'paper'\?\)"),
        ({"max_l": 5}, "max_l must be at most 4"),
        ({"three_body_cutoff": 6.0}, "three_body_cutoff"),
        ({"precision": "half"}, "precision"),
        ({"device": "gpu"}, "device"),
        ({"species": "Cu"}, "species"),
        ({"n_blocks": 0}, "n_blocks"),
    ],
)
def test_impossible_settings_are_refused(settings, named):
    with pytest.raises(InputError, match=named):
        get_force_field("m3gnet", **{"species": ["Cu"], **settings})


def test_radial_functions_are_orthonormal():
    r = torch.linspace(1e-6, 5.0, 4001, dtype=torch.float64)
    for functions in (SmoothFunctions(4, 5.0), BesselFunctions(1, 4, 5.0)):
        values = functions(r) * r[:, None]
        overlap = (values.T @ values) * (r[1] - r[0])
        torch.testing.assert_close(overlap, torch.eye(4, dtype=torch.float64), rtol=0, atol=2e-3)


def test_spherical_bessel_functions_are_those_of_scipy():
    r = torch.linspace(0.01, 5.0, 400, dtype=torch.float64)
    roots = [np.pi, 4.493409457909064, 5.763459196894550, 6.987932000500519]
    found = BesselFunctions(4, 1, 5.0)(r).numpy()
    for l, root in enumerate(roots):
        expected = np.sqrt(2 / 5.0**3) * spherical_jn(l, root * r.numpy() / 5.0) / abs(spherical_jn(l + 1, root))
        np.testing.assert_allclose(found[:, l], expected, rtol=0, atol=1e-12)


def test_no_pairs_at_all(alloy):
    network = with_random_weights().network
    frame = frame_of(Atoms("Cu2", [[0, 0, 0], [0, 0, 50.0]]), np.zeros(2, dtype=np.int64), cutoff=5.0)
    for pairs_at_once in (None, 1):
        energies, slopes = Evaluator(network, 5.0, dtype=torch.float64, pairs_at_once=pairs_at_once).with_slopes(frame)
        assert energies[0] == energies[1]
        assert slopes.shape == (0, 3)


def test_an_evaluator_leaves_nothing_behind():
    learner = with_random_weights()
    learner.calculator()
    counts = []
    for _ in range(3):
        learner.calculator()
        gc.collect()
        counts.append(sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects()))
    assert counts[1] == counts[0]
    assert counts[2] == counts[0]
