"""SevenNet in plain torch: against stored results of its package, the kit, pretrained starts, frozen parameters, refusals."""

import json
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from ase import Atoms

from idealflow.errors import ArtifactError, InputError, MissingExtraError
from idealflow.forcefields import get_force_field, load_force_field
from idealflow.forcefields.sevennet import SevenNetForceField, from_sevennet
from idealflow.testing import check_force_field
from support.labelled_cells import copper_cells

FIXTURES = Path(__file__).parents[1] / "fixtures" / "sevennet"
SMALL = {
    "pretrained": None,
    "channels": [4, 2, 2],
    "n_layers": 2,
    "radial_hidden": [6],
    "cutoff": 3.5,
    "cutoff_start": 3.0,
}


@pytest.fixture(scope="module")
def known():
    """A small model of sevenn, read."""
    return from_sevennet(FIXTURES / "small.pth")


@pytest.fixture(scope="module")
def cells():
    return copper_cells(3, 5)


def made_of(known, species=None, **others):
    made = SevenNetForceField.with_weights(*known, species=species, pretrained=None, **others)
    made.start_here()
    return made


def test_a_model_of_sevenn_gives_what_sevenn_says(known):
    stored = json.loads((FIXTURES / "small.json").read_text())
    calculator = made_of(known, precision="double").calculator()
    atoms = Atoms(stored["symbols"], stored["positions"], cell=stored["cell"], pbc=True, calculator=calculator)
    assert atoms.get_potential_energy() == pytest.approx(stored["energy"], abs=1e-5)
    np.testing.assert_allclose(atoms.get_forces(), stored["forces"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(atoms.get_stress(), stored["stress"], rtol=0, atol=1e-6)


def test_kit(cells):
    check_force_field(SevenNetForceField(["Cu"], **SMALL), cells[:2], steps=2)


def test_some_species_of_the_weights_are_enough(known, cells):
    whole, copper = made_of(known), made_of(known, ["Cu"])
    assert copper.species == ("Cu",)
    np.testing.assert_array_equal(whole.errors(cells), copper.errors(cells))
    with pytest.raises(InputError, match="the weights do not know Ni; they know Al, Cu"):
        made_of(known, ["Cu", "Ni"])


def test_a_fit_begins_from_the_weights_with_energies_of_the_species_set_in_closed_form(known, cells):
    before, after = made_of(known), made_of(known, freeze=["*"])
    report = after.fit(cells)
    assert (report.steps, after.n_parameters) == (0, 0)
    one, other = before.errors(cells), after.errors(cells)
    np.testing.assert_allclose(other[:, 1], one[:, 1], rtol=1e-5)  # forces are those of the weights
    assert other[:, 0].mean() < 0.2 * one[:, 0].mean()


def test_later_fits_begin_there_too_also_from_a_file(known, cells, tmp_path):
    once = made_of(known)
    once.fit(cells, steps=3, seed=1)
    stored = load_force_field(once.save(tmp_path / "a"))
    assert stored.save(tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()
    stored.fit(cells, steps=3, seed=1)
    assert stored.save(tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()


def test_frozen_parameters_stay(known, cells):
    learner = made_of(known, freeze=["layers.0.*", "embedding"])
    before = {name: value.clone() for name, value in learner.network.named_parameters()}
    learner.fit(cells[:2], steps=2)
    learner.update(cells[2:], cells[:2], steps=2, lr=1e-3, seed=0)
    for name, value in learner.network.named_parameters():
        assert torch.equal(value, before[name]) == name.startswith(("layers.0.", "embedding")), name
    with pytest.raises(InputError, match=r"freeze: no parameter is called 'layer\.0\.\*'; there are embedding, energy"):
        made_of(known, freeze=["layer.0.*"])


def test_foreign_and_truncated_files_are_refused(tmp_path):
    with pytest.raises(ArtifactError, match="does not exist"):
        from_sevennet(tmp_path / "absent")
    whole = (FIXTURES / "small.pth").read_bytes()
    for content in (b"", b"no weights", whole[: len(whole) // 2], whole[:-300]):
        (tmp_path / "cut.pth").write_bytes(content)
        with pytest.raises(ArtifactError, match=r"is not sevenn's checkpoint, or is damaged"):
            from_sevennet(tmp_path / "cut.pth")
    torch.save({"config": {}, "model_state_dict": {}}, tmp_path / "empty.pth")
    with pytest.raises(InputError, match="no model of SevenNet that can be read here"):
        from_sevennet(tmp_path / "empty.pth")


@pytest.mark.skipif(find_spec("sevenn") is not None, reason="the package is there")
def test_without_the_package_its_weights_are_refused_with_the_command_that_installs_them():
    with pytest.raises(MissingExtraError, match=r"pip install 'idealflow\[sevennet\]'"):
        get_force_field("sevennet", species=["Cu"])
    with pytest.raises(InputError, match=r"called '7net-1' \(did you mean '7net-0'\?\)"):
        get_force_field("sevennet", species=["Cu"], pretrained="7net-1")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"channels": []}, "channels must be"),
        ({"n_layers": 0}, "n_layers must be"),
        ({"cutoff_function": "xplr"}, "did you mean 'xplor'"),
        ({"cutoff_start": 4.0}, "cutoff_start must be positive and less than cutoff"),
        ({"freeze": "embedding"}, "freeze must be a list"),
    ],
)
def test_impossible_settings(wrong, message):
    with pytest.raises(InputError, match=message):
        SevenNetForceField(["Cu"], **{**SMALL, **wrong})
