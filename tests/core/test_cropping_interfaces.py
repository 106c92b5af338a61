"""Cells across a grain boundary: both grains on vectors that map both, and none where there is no such boundary."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc100, make_supercell

from idealflow.core import SOAP, UncertaintyModel, crop_search, embed
from idealflow.core.cropping.interfaces import interface_plane, interfaces
from idealflow.core.cropping.lattice import Translations, find_translations
from idealflow.core.cropping.surroundings import Surroundings, survey

CUTOFF = 4.5


def twisted(seed: int = 0) -> Atoms:
    """Two grains of copper, turned against each other by 36.9° (Σ5) about x, the normal of their (100) boundary."""
    cell, grains = bulk("Cu", cubic=True), []
    for sign in (1, -1):
        grain = make_supercell(cell, [[4, 0, 0], [0, 6, 2 * sign], [0, -2 * sign, 6]])
        grain.rotate(-sign * np.degrees(np.arctan2(1, 3)), "x", rotate_cell=True)
        grain.wrap()
        grains.append(grain)
    length = grains[0].cell[0, 0]
    grains[1].positions[:, 0] += length
    frame = grains[0] + grains[1]
    frame.cell[0, 0], frame.pbc = 2.0 * length, True
    frame.rattle(0.05, seed=seed)
    return frame


def beside(frame: Atoms) -> int:
    """An atom at the boundary in the middle of the cell."""
    return int(np.argmin(np.linalg.norm(frame.positions - frame.cell.sum(axis=0) / 2.0, axis=1)))


def surroundings(frame: Atoms, centre: int) -> tuple[Surroundings, Translations]:
    sur = survey(frame, centre, CUTOFF, 16.0)
    return sur, find_translations(sur, 2.0 * CUTOFF * 0.98, 15.0)


def test_the_plane_of_a_boundary_and_its_coincidence_lattice():
    frame = twisted()
    normal, vectors = interface_plane(*surroundings(frame, beside(frame)))
    assert abs(normal[0]) > 0.999
    root = 3.61 * np.sqrt(2.5)  # edge of the coincidence cell
    steps = np.linalg.norm(vectors, axis=1) / root
    assert np.allclose(steps**2, np.round(steps**2), atol=0.15)
    assert np.abs(vectors[:, 0]).max() < 0.3


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(bulk("Cu", cubic=True) * 6, id="crystal"),
        pytest.param(fcc100("Cu", (8, 8, 7), vacuum=8.0, periodic=True), id="slab"),
        pytest.param(bulk("NaCl", "rocksalt", a=5.64, cubic=True) * 4, id="two species"),
    ],
)
def test_where_there_is_no_boundary_nothing_is_drawn(frame):
    for width in (0.02, 0.1, 0.5, 1.0):  # the last is no crystal any more
        atoms = frame.copy()
        atoms.rattle(width, seed=3)
        for centre in (0, len(atoms) // 2, len(atoms) - 1):
            sur, found = surroundings(atoms, centre)
            rng = np.random.default_rng(0)
            before = rng.bit_generator.state
            assert list(interfaces(sur, found, 4, 10.0, rng)) == []
            assert rng.bit_generator.state == before


def test_cells_across_a_boundary_are_better_known_and_keep_their_centre():
    frame = twisted()
    rng = np.random.default_rng(1)
    known = []
    for seed in range(6):
        for one in (bulk("Cu", cubic=True) * 2, fcc100("Cu", (3, 3, 5), vacuum=8.0, periodic=True)):
            one.rattle(rng.uniform(0.02, 0.12), seed=seed)
            known.append(one)
    u = UncertaintyModel.fit(known, SOAP(species=["Cu"], r_cut=3.2, n_max=4, l_max=4, sigma=0.35))
    centre = beside(frame)
    crops = crop_search(u, frame, centre, 30, np.random.default_rng(0), max_atoms=250)
    across = [crop for crop in crops if crop.cell_kind == "interface"]
    assert {crop.axes.count("vacuum") for crop in across} == {0, 1}
    assert crops[0].cell_kind == "interface"
    for crop in across:
        assert u(crop.atoms, [crop.centre])[0] == pytest.approx(u(frame, [centre])[0], rel=1e-9)
    others = [crop for crop in crops if crop.cell_kind != "interface"]
    best, other = (embed(u, type(crops)(some))[0].relaxed.shell_ratio for some in (across, others))
    assert best < other
