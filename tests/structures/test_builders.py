"""Builders: composition, least distances, symmetry, and the paper's numbers of atoms."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.data import covalent_radii
from ase.io import write
from ase.neighborlist import neighbor_list
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.io.ase import AseAtomsAdaptor
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from idealflow.errors import InputError
from idealflow.structures import crystal, from_builder, gas_around, particle, polycrystal, slab
from idealflow.structures.gases import hollow_sites
from idealflow.workflow.config.load import load_config
from idealflow.workflow.frames.build import build_structure


def closest(atoms: Atoms, cutoff: float = 3.5) -> float:
    return float(neighbor_list("d", atoms, cutoff).min())


#: spglib's own, about its interface, from within pymatgen
IGNORED = pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")


def space_group(atoms: Atoms) -> str:
    return SpacegroupAnalyzer(AseAtomsAdaptor.get_structure(atoms), symprec=1e-3).get_space_group_symbol()


@IGNORED
def test_nine_layers_of_lithium() -> None:
    """As the relaxed cell that a trial of the paper's lithium began with: R-3m, 9 atoms in the hexagonal cell."""
    atoms = crystal("Li", "9R", a=2.985, c=22.11)
    assert len(atoms) == 9
    assert space_group(atoms) == "R-3m"
    assert len(crystal("Li", "9R", repeat=[7, 8, 1])) == 504
    # nine layers, of which two thirds have the stacking of hcp (h) around them and one third that of fcc (c)
    order = np.argsort(atoms.positions[:, 2])
    place = np.round(3 * np.mod(atoms.get_scaled_positions()[order, 0], 1.0)).astype(int) % 3
    hexagonal = [place[i - 1] == place[(i + 1) % 9] for i in range(9)]
    assert sum(hexagonal) == 6
    ideal = crystal("Li", "9R", a=3.0)
    assert sorted(np.bincount(neighbor_list("i", ideal, 3.01))) == [12] * 9  # closely packed


@IGNORED
def test_ordered_alloys_have_their_symmetry() -> None:
    assert space_group(crystal("CuAu", "L1_0", a=3.96, c=3.67)) == "P4/mmm"
    assert space_group(crystal("Ni3Al", "L1_2", a=3.57)) == "Pm-3m"


@IGNORED
def test_corundum_is_aluminas_structure() -> None:
    atoms = crystal("Al2O3", "corundum")
    assert atoms.get_chemical_formula() == "Al12O18"
    assert space_group(atoms) == "R-3c"
    distances = np.sort(neighbor_list("d", atoms, {("Al", "O"): 2.1}))
    assert distances[0] == pytest.approx(1.855, abs=0.01)  # three short and three long bonds of each Al
    assert distances[-1] == pytest.approx(1.97, abs=0.01)
    assert len(atoms.repeat(3)) == 810
    assert crystal("Cr2O3", "corundum", a=4.96, c=13.6).get_chemical_formula() == "Cr12O18"


@pytest.mark.parametrize(("n_atoms", "formula"), [(820, "Al328O492"), (480, "Al192O288")])
def test_particles_of_alumina_are_stoichiometric(n_atoms: int, formula: str) -> None:
    atoms = particle("Al2O3", crystal="corundum", n_atoms=n_atoms)
    assert atoms.get_chemical_formula() == formula
    assert not atoms.pbc.any()
    assert closest(atoms) > 1.8
    away = np.linalg.norm(atoms.positions - atoms.cell.sum(axis=0) / 2, axis=1)
    assert away.max() < 1.1 * (n_atoms * 8.49 * 3 / (4 * np.pi)) ** (1 / 3) + 1.0  # a ball of alumina's density


def test_481_atoms_are_no_alumina() -> None:
    with pytest.raises(InputError, match=r"481 atoms are no whole number of Al2O3 \(5 atoms\): 480 and 485 are"):
        particle("Al2O3", crystal="corundum", n_atoms=481)
    near = particle("Al2O3", crystal="corundum", n_atoms=481, stoichiometric=False)
    assert near.get_chemical_formula() == "Al192O289"


@given(n_units=st.integers(4, 60), seed=st.integers(0, 5))
@settings(max_examples=15)
def test_spheres_keep_composition_and_bonds(n_units: int, seed: int) -> None:
    atoms = particle("NaCl", crystal="rocksalt", a=5.64, n_atoms=2 * n_units, seed=seed)
    assert atoms.get_chemical_symbols().count("Na") == n_units == len(atoms) - n_units
    assert closest(atoms) == pytest.approx(2.82)
    assert (atoms.get_scaled_positions(wrap=False) > 0).all()
    assert (atoms.get_scaled_positions(wrap=False) < 1).all()


@given(length=st.integers(2, 9), data=st.data())
@settings(max_examples=15)
def test_octahedra_count_as_the_formula_says(length: int, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, (length - 1) // 2))
    atoms = particle("Ir", shape="octahedron", length=length, cut=cut, a=3.88)
    # an octahedron of n along an edge has n (2 n² + 1) / 3 atoms, and each corner of `cut` layers is a pyramid of squares
    whole, corner = length * (2 * length**2 + 1) // 3, cut * (cut + 1) * (2 * cut + 1) // 6
    assert len(atoms) == whole - 6 * corner
    assert closest(atoms) == pytest.approx(3.88 / np.sqrt(2))


def haber(seed: int = 0) -> Atoms:
    body = particle("Ir", shape="octahedron", length=7, cut=2, a=3.88, fixed_core=3.9, box=28.0)
    return gas_around(body, {"N2": 40, "H2": 60}, adsorbed={"N": 20}, seed=seed)


def test_gas_in_an_empty_box() -> None:
    gas = gas_around(Atoms(cell=[9.0, 9.0, 9.0], pbc=True), {"N2": 2, "H2": 3}, distance=2.0)
    assert gas.get_chemical_formula() == "H6N4"
    distances = gas.get_all_distances(mic=True)
    assert (np.sort(distances, axis=1)[:, 1] < 1.2).all()
    assert (np.sort(distances, axis=1)[:, 2] >= 2.0).all()


def test_the_papers_particle_in_gas() -> None:
    atoms = haber()
    assert len(atoms) == 421
    assert atoms.get_chemical_formula() == "H120Ir201N100"
    assert atoms.pbc.all()
    assert atoms.cell.lengths().tolist() == [28.0] * 3
    assert len(atoms.constraints[0].index) == 19
    assert set(atoms.symbols[atoms.constraints[0].index]) == {"Ir"}
    gas = np.arange(221, 421)
    pairs = neighbor_list("ijd", atoms, 2.3)
    apart = np.isin(pairs[0], gas) & (pairs[2] < 2.29)
    assert (np.abs(pairs[0][apart] - pairs[1][apart]) == 1).all()  # only the two atoms of a molecule are closer
    bonds = atoms.get_distances(201, range(201), mic=True)
    assert np.sort(bonds)[:4] == pytest.approx([covalent_radii[77] + covalent_radii[7]] * 3 + [np.sort(bonds)[3]])
    assert np.sort(bonds)[3] > 2.5
    hollows = atoms.positions[201:221]
    spaces = np.linalg.norm(hollows[:, None] - hollows[None], axis=-1)[np.triu_indices(20, 1)]
    assert spaces.min() >= 2.5


def test_seeds_decide_and_repeat() -> None:
    assert (haber(1).positions == haber(1).positions).all()
    assert (haber(1).positions[201:] != haber(2).positions[201:]).any()


def test_hollow_sites_of_a_slab() -> None:
    """A (111) face has two hollow sites for each of its atoms, periodic images included."""
    atoms = slab("Ir", a=3.88, layers=3, repeat=[2, 2])
    per_plane = len(atoms) // 3
    assert len(hollow_sites(atoms, "N")) == 2 * 2 * per_plane


def test_slabs_are_flat_open_and_held_at_the_bottom() -> None:
    atoms = slab("Cu", miller=[1, 0, 0], layers=3, repeat=[2, 2], vacuum=7.0, fixed_layers=2)
    heights = np.unique(np.round(atoms.positions[:, 2], 3))
    assert atoms.pbc.tolist() == [True, True, False]
    assert np.diff(heights) == pytest.approx(3.61 / 2, abs=2e-3)
    assert heights[0] == pytest.approx(7.0)
    assert atoms.cell.lengths()[2] - heights[-1] == pytest.approx(7.0, abs=1e-3)
    assert set(np.round(atoms.positions[atoms.constraints[0].index, 2], 3)) == set(heights[:2])


@given(n_grains=st.integers(1, 6), seed=st.integers(0, 3))
@settings(max_examples=8)
def test_polycrystals_fill_the_box_without_contacts(n_grains: int, seed: int) -> None:
    a = 3.5
    atoms = polycrystal("Li", "bcc", a=a, box=[26.0, 30.0, 28.0], n_grains=n_grains, seed=seed)
    nearest = a * np.sqrt(3) / 2
    assert closest(atoms, 4.0) >= 0.75 * nearest - 1e-9
    assert set(atoms.get_tags()) == set(range(n_grains))
    filled = len(atoms) / (2 * 26.0 * 30.0 * 28.0 / a**3)
    assert 0.8 < filled < 1.02
    # inside a grain an atom has the eight neighbours of bcc, at their distance
    i, d = neighbor_list("id", atoms, 1.08 * nearest)
    perfect = [len(d[i == k]) == 8 and np.allclose(d[i == k], nearest) for k in range(0, len(atoms), 7)]
    assert np.mean(perfect) > 0.15


def test_each_grain_is_nearest_to_its_own_point() -> None:
    """Every place belongs to the nearest of the grains' points: centres of mass cannot show it, a fresh assignment does."""
    atoms = polycrystal("Cu", box=32.0, n_grains=5, seed=3)
    points = np.random.default_rng(3).random((5, 3)) * 32.0
    shifts = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3) * 32.0
    distances = np.linalg.norm(atoms.positions[None, None] - (points[None] + shifts)[:, :, None], axis=-1).min(axis=0)
    assert (distances.argmin(axis=0) == atoms.get_tags()).all()


def test_the_papers_polycrystal() -> None:
    """1.02 million atoms of 20 grains in 28.66 nm ask for a = 3.559 Å."""
    atoms = polycrystal("Li", "bcc", a=3.559, box=286.6, n_grains=20)
    assert len(atoms) == pytest.approx(1.02e6, rel=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"builder": "partcle"}, "there is no builder 'partcle' (did you mean 'particle'?)"),
        ({"builder": "particle"}, "the builder particle needs `element`"),
        ({"builder": "particle", "element": "Ir", "size": 7}, "unknown key 'size' of the builder particle"),
        ({"builder": "particle", "element": "Ir", "n_atoms": "many"}, "`n_atoms` must be a whole number or null"),
        ({"builder": "particle", "element": "Qq", "n_atoms": 5}, "unknown element 'Qq'"),
        ({"builder": "particle", "element": "Ir"}, "a sphere needs n_atoms"),
        ({"builder": "particle", "element": "Ir", "shape": "cube"}, "shape must be octahedron or sphere"),
        ({"builder": "particle", "element": "Fe", "shape": "octahedron", "length": 4}, "Fe is not fcc by itself"),
        ({"builder": "particle", "element": "Ir", "shape": "octahedron", "length": 4, "cut": 2}, "cut must be at most"),
        ({"builder": "particle", "element": "Ir", "n_atoms": 50, "box": 6.0}, "box = 6.0 Å is too small"),
        ({"builder": "crystal", "element": "NaCl", "crystal": "9R"}, "crystal 9R is of one element"),
        ({"builder": "crystal", "element": "Ni3Al", "crystal": "L1_0", "a": 3.6}, "crystal L1_0 is of a formula XY"),
        ({"builder": "crystal", "element": "CuAu", "crystal": "L1_0"}, "crystal L1_0 needs a, the edge"),
        ({"builder": "crystal", "element": "Ni3Al", "crystal": "L1_2", "a": 3.6, "c": 3.7}, "it is cubic and has no c"),
        ({"builder": "crystal", "element": "NaCl", "crystal": "corundum"}, "of a formula X2Y3"),
        ({"builder": "crystal", "element": "NaCl", "crystal": "rocksalt"}, "cannot build NaCl as rocksalt"),
        ({"builder": "slab", "element": "Cu", "layers": 2, "fixed_layers": 9}, "fixed_layers must be below"),
        ({"builder": "slab", "element": "Cu", "miller": [0, 0, 0]}, "miller must be three whole numbers"),
        ({"builder": "polycrystal", "element": "Cu", "box": 10.0, "n_grains": 50}, "fewer than 10 atoms each"),
        ({"builder": "polycrystal", "element": "Cu", "box": [1, 2], "n_grains": 2}, "box must be one length or three"),
        ({"builder": "gas_around", "atoms": {"builder": "slab", "element": "Cu"}, "molecules": {"XeF9": 1}}, "no molecule"),
        ({"builder": "gas_around", "atoms": {"builder": "slab", "element": "Cu"}, "adsorbed": {"N": 99}}, "do not fit on the"),
        ({"builder": "gas_around", "atoms": {"builder": "slab", "element": "Cu", "vacuum": 3.0}, "molecules": {"N2": 99}},
         "found room at 2.3 Å"),
    ],
)  # fmt: skip
def test_impossible_builders(settings: dict, message: str) -> None:
    with pytest.raises(InputError) as error:
        from_builder(settings, build_structure)
    assert message in str(error.value)


def test_a_config_names_builders_and_files_within_them(tmp_path: Path) -> None:
    write(tmp_path / "body.extxyz", slab("Cu", layers=4, repeat=[2, 2], fixed_layers=1))
    config = tmp_path / "c.yaml"
    config.write_text(
        "structure: {builder: gas_around, atoms: body.extxyz, molecules: {N2: 2}}\n"
        "bootstrap: {seeds: [{element: Cu, cubic: true}, {builder: gas_around, distance: 1.5, atoms: {builder: slab, element: Cu,"
        " layers: 1}, molecules: {N2: 1}}]}\n"
        "label: {labeller: {calculator: ase.calculators.emt.EMT}}\n"
    )
    _, atoms, kept = load_config(config)
    assert atoms.get_chemical_formula() == "Cu64N4"
    assert len(atoms.constraints[0].index) == 16
    assert kept["structure"]["atoms"] == str(tmp_path / "body.extxyz")


def test_the_crystals_of_a_structure_mapping() -> None:
    assert len(build_structure({"element": "Li", "crystal": "9R", "repeat": [7, 8, 1], "vacancies": 4})) == 500
