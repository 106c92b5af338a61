"""The density around a centre, and cells that keep it."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st

from idealflow.core.cropping import crop_search
from idealflow.core.cropping.density import WIDTH
from idealflow.core.cropping.surroundings import survey
from idealflow.core.descriptors import SOAP
from idealflow.core.embedding import relax_shell
from idealflow.core.embedding.objectives import ShellObjective
from idealflow.core.uncertainty import UncertaintyModel

CUTOFF = 4.7


def around(atoms, centre, cutoff=CUTOFF):
    return survey(atoms, centre, cutoff, 2.75 * cutoff + 5.0)


def scatter(atoms, rattle):
    """Standard deviation, relative, that independent displacements give a sum of Gaussian weights w of width s.

    Var Σ w = rattle² Σ (w r / s²)², and Σ w² r² / s² = ρ s³ (3/2) π^(3/2), Σ w = ρ s³ (2π)^(3/2).
    """
    width = WIDTH * CUTOFF
    weight = len(atoms) / atoms.get_volume() * width**3
    return rattle / width * np.sqrt(1.5 * np.pi**1.5 * weight) / (weight * (2.0 * np.pi) ** 1.5)


@settings(max_examples=40, deadline=None)
@given(
    structure=st.sampled_from(["fcc", "bcc", "rocksalt"]),
    seed=st.integers(0, 1000),
    rattle=st.floats(0.0, 0.1),
    strain=st.floats(0.0, 0.05),
)
def test_a_crystals_density_is_its_density(structure, seed, rattle, strain):
    rng = np.random.default_rng(seed)
    atoms = {
        "fcc": lambda: bulk("Cu", "fcc", 3.61),
        "bcc": lambda: bulk("Li", "bcc", 3.5),
        "rocksalt": lambda: bulk("NaCl", "rocksalt", 5.64),
    }[structure]() * (6, 6, 6)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.uniform(-strain, strain, (3, 3))), scale_atoms=True)
    atoms.rattle(rattle, seed=seed)
    found = around(atoms, int(rng.integers(len(atoms)))).matter
    assert found == pytest.approx(len(atoms) / atoms.get_volume(), rel=1e-3 + 5.0 * scatter(atoms, rattle))


def test_beside_empty_space_there_is_none_and_a_vacancy_is_not_empty_space():
    slab = fcc111("Cu", (8, 8, 12), a=3.61, vacuum=10.0, periodic=True)
    z = slab.positions[:, 2]
    assert around(slab, int(np.argmax(z))).matter is None
    assert around(slab, int(np.argmin(np.abs(z - z.mean())))).matter is not None
    crystal = bulk("Cu", cubic=True) * (7, 7, 7)
    whole = len(crystal) / crystal.get_volume()
    del crystal[100]
    beside = int(np.argsort(crystal.get_distances(99, range(len(crystal)), mic=True))[1])
    assert 0.97 * whole < around(crystal, beside).matter < whole


@pytest.fixture(scope="module")
def molten():
    """A structure without order at a crystal's density: atoms of a hot crystal, pushed apart where they touch."""
    atoms = bulk("Cu", cubic=True) * (7, 7, 7)
    atoms.rattle(0.9, seed=3)
    for _ in range(60):
        i, d, vector = neighbor_list("idD", atoms, 2.2)
        if len(d) == 0:
            return atoms
        push = np.zeros_like(atoms.positions)
        np.add.at(push, i, -0.55 * (2.25 - d)[:, None] * vector / d[:, None])
        atoms.positions += push
    raise AssertionError("atoms still touch")


@pytest.fixture(scope="module")
def u():
    frames = []
    for seed, scale in enumerate(np.linspace(0.99, 1.01, 6)):
        atoms = bulk("Cu", cubic=True, a=3.61 * scale) * (3, 3, 3)
        atoms.rattle(0.08, seed=seed)
        frames.append(atoms)
    return UncertaintyModel.fit(frames, SOAP(["Cu"], r_cut=3.2, n_max=4, l_max=4, sigma=0.4))


def test_cells_of_a_disordered_frame_keep_its_density(u, molten):
    density = len(molten) / molten.get_volume()
    with_weight, without, after = [], [], []
    for centre in (5, 300, 700, 1100):
        for weight, errors in ((20.0, with_weight), (0.0, without)):
            best = crop_search(u, molten, centre, 40, np.random.default_rng(centre), volume_weight=weight)[0]
            assert best.atoms.get_volume() / best.expected_volume - 1.0 == best.volume_error
            assert best.expected_volume == pytest.approx(len(best.atoms) / density, rel=0.03)
            errors.append(best.volume_error)
            if weight:
                after.append(relax_shell(u, best, max_steps=40).atoms.get_volume() / best.expected_volume - 1.0)
    assert np.mean(without) > 0.01  # what touches goes: too thin
    assert np.abs(with_weight).mean() < 0.75 * np.abs(without).mean()  # 0.47 to 0.52 by the last bits of the frame
    assert np.abs(after).max() < 0.015


def test_the_level_of_every_atom_is_its_own_uncertainty_in_the_frame(u, molten):
    crop = crop_search(u, molten, 5, 20, np.random.default_rng(0))[0]
    expected = np.maximum(1.0, u(molten)[crop.parent_indices])
    np.testing.assert_allclose(crop.in_frame, expected, rtol=1e-12)
    assert (crop.reference == np.where(crop.core, crop.in_frame, 1.0)).all()
    content, asks = ShellObjective(crop, "frame-hinge"), ShellObjective(crop, "hinge")
    value, slopes = content(crop.in_frame)
    assert value == 0.0
    assert (slopes == 0.0).all()
    assert content.shell_ratio(crop.in_frame) == 1.0
    assert asks(crop.in_frame)[0] > 0.1
    assert asks.shell_ratio(crop.in_frame) == pytest.approx(crop.in_frame[crop.shell].mean())
    relaxed = relax_shell(u, crop, max_steps=60)
    assert relaxed.shell_ratio == pytest.approx((relaxed.values / crop.in_frame)[crop.shell].mean())
    assert relaxed.shell_ratio < content.shell_ratio(crop.values)


def test_a_species_never_seen_counts_in_no_candidate():
    seen = []
    for seed in range(4):
        seen.append(bulk("Cu", cubic=True) * (3, 3, 3))
        seen[-1].rattle(0.08, seed=seed)
    model = UncertaintyModel.fit(seen, SOAP(["Cu", "Ag"], r_cut=3.2, n_max=3, l_max=3, sigma=0.4))
    frame = bulk("Cu", cubic=True) * (7, 7, 7)
    frame.rattle(0.08, seed=9)
    frame.symbols[::9] = "Ag"
    for crop in crop_search(model, frame, 3, 10, np.random.default_rng(0)):
        assert np.isinf(crop.in_frame[crop.atoms.symbols == "Ag"]).all()
        assert np.isfinite(crop.in_frame[crop.atoms.symbols == "Cu"]).all()
        assert np.isfinite(crop.score)


def test_a_crop_stored_before_its_density_was_kept_is_read(u):
    frame = bulk("Cu", cubic=True) * (6, 6, 6)
    frame.rattle(0.05, seed=0)
    crop = crop_search(u, Atoms(frame), 0, 10, np.random.default_rng(0))[0]
    stored = crop.to_dict()
    again = type(crop).from_dict(stored)
    assert again.expected_volume == crop.expected_volume
    assert (again.in_frame == crop.in_frame).all()
    del stored["expected_volume"], stored["in_frame"]
    stored["reference"] = crop.reference.tolist()
    older = type(crop).from_dict(stored)
    assert older.volume_error == 0.0
    assert (older.in_frame == crop.reference).all()
