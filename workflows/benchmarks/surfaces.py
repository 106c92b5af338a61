"""Do cells keep what a surface is? Vacuum, molecules, adsorbates, and how known shell and core are, at surfaces and boundaries.

    python workflows/benchmarks/surfaces.py [--systems gas-particle ...] [--centres 20] [--out .../results/surfaces.json]
        [--cells .../results/surface_cells.json] [--case FOLDER]

A cell is cut and relaxed, with the defaults, around centres of frames that the package's builders make: a bare platinum
octahedron, an iridium octahedron of 201 atoms with nitrogen on it in N2 and H2 (centres at faces, edges and vertices apart), an
Ir(111) slab with adsorbates in the same gas, a twist and a symmetric tilt boundary of silver, and an Al2O3 ball. ASE's EMT moves
platinum and silver, a local force field fitted to the first set of the gas moves iridium; Al2O3 is rattled. What is known:
small crystals and flat slabs, for platinum a small octahedron too, and for iridium the first set (`first_set.xyz.gz`, labels of
SevenNet 7net-0 in place of DFT), so that boundaries are new, and the edges and vertices of iridium. No label is computed.

Kept for every centre: mean over the shell of the uncertainty over its level in the frame, largest such ratio in the core, atoms,
CPU seconds; whether the cell has vacuum where the frame has, found by the distance to the nearest body atom alone; bonds of the
frame that end in the cell, and how many have both ends there at 1.15 times their length at most; adsorbates (N and H within 2.4 Å
of a metal) and how many have a metal within 2.6 Å in the cell. With ``--cells`` five cells of the particle in gas are kept
whole, two at faces, one at an edge and two at vertices, to be drawn.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk, fcc100, fcc111, make_supercell
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.io import read, write
from ase.neighborlist import neighbor_list
from ase.optimize import FIRE
from scipy.spatial import cKDTree

from idealflow.core import SOAP, MDState, Schedule, Stage, UncertaintyModel, crop_search, embed, get_sampler, md_segment
from idealflow.errors import InputError
from idealflow.forcefields import get_force_field
from idealflow.structures import gas_around, particle, slab
from workbench.keeping import add_out, keep
from workbench.surface_tables import summary
from workbench.systems import SOAP_SETTINGS, matsuis_corundum, perturbed
from workbench.threads import one_thread

FIRST_SET = Path(__file__).parent / "data" / "first_set.xyz.gz"
BUDGET, HOLE = 250, 4.75  # atoms; Å from every body atom: empty space of the 10 Å that a cell should have
BOND = {("H", "H"): 1.1, ("H", "N"): 1.4, ("N", "N"): 1.5}  # Å, lengths below which a frame's pair is bonded
ADSORBED, BOUND, STRETCH = 2.4, 2.6, 1.15  # Å in the frame; Å in the cell; times the frame's length
GAS = ("H", "N")
DRAWN = {"face": 2, "edge": 1, "vertex": 2}  # cells of the particle in gas that are kept whole

Groups = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A frame, what is known, the atoms to cut around by group, and the oxidation states where cells are to be neutral."""

    frame: Atoms
    known: list[Atoms]
    groups: Groups
    charges: dict[str, float] | None = None


def moved(atoms: Atoms, calculator: Calculator, temperature: float, steps: int, timestep: float) -> Atoms:
    """The frame after some steps of Langevin dynamics."""
    sampler = get_sampler("langevin", timestep=timestep, friction=0.02)
    schedule = Schedule([Stage("hold", temperature, steps=steps)])
    state = MDState.initial(atoms, temperature, 0)
    state = md_segment(calculator, state, schedule=schedule, sampler=sampler, check_interval=steps).state
    frame = state.atoms()
    frame.calc = None
    frame.set_constraint()
    return Atoms(frame.symbols, frame.positions, cell=frame.cell, pbc=frame.pbc)


def sites(atoms: Atoms, metal: str) -> Groups:
    """Faces, edges and vertices of an fcc octahedron: its atoms with 8 or 9, 7, and at most 6 neighbours of their kind."""
    body = np.flatnonzero(atoms.symbols == metal)
    tree = cKDTree(atoms.positions[body])
    nearest = np.median(tree.query(atoms.positions[body], k=2)[0][:, 1])
    count = np.array([len(near) - 1 for near in tree.query_ball_point(atoms.positions[body], 1.2 * nearest)])
    return {
        "face": body[(count == 8) | (count == 9)],
        "edge": body[count == 7],
        "vertex": body[count <= 6],
    }


def known_metal(symbol: str) -> list[Atoms]:
    """Small crystals and flat slabs of two faces, strained and rattled."""
    rng = np.random.default_rng(0)
    made = perturbed(bulk(symbol, cubic=True) * 2, 32, rng, (0.02, 0.15), 0.03)
    for make in (fcc111, fcc100):
        made += perturbed(make(symbol, (3, 3, 5), vacuum=8.0, periodic=True), 24, rng, (0.02, 0.15), 0.0)
    return made


def bare_particle() -> Case:
    """405 platinum atoms at 600 K; a small octahedron is known too, rattled, so that edges and vertices have been seen cold."""
    atoms = particle("Pt", shape="octahedron", length=9, cut=3, box=44.0)
    small = particle("Pt", shape="octahedron", length=6, cut=1, box=34.0)
    known = known_metal("Pt") + perturbed(small, 12, np.random.default_rng(1), (0.02, 0.15), 0.0)
    return Case(moved(atoms, EMT(), 600.0, 200, 2.0), known, sites(atoms, "Pt"))


def fitted() -> tuple[list[Atoms], Calculator]:
    """The first set, and a local force field fitted to it, of eight radial functions: frames stay those of `surfaces_before`."""
    first = read(FIRST_SET, ":")
    field = get_force_field("local", species=["H", "N", "Ir"], n_radial=8)
    field.fit(first, steps=1500, seed=0)
    return [Atoms(one.symbols, one.positions, cell=one.cell, pbc=one.pbc) for one in first], field.calculator()


def gas_particle() -> Case:
    """201 iridium atoms, 20 N on them, 40 N2 and 60 H2 in a box of 28 Å, at 1200 K."""
    body = particle("Ir", shape="octahedron", length=7, cut=2, a=3.88, box=28.0)
    groups = sites(body, "Ir")
    first, calculator = fitted()
    frame = gas_around(body, {"N2": 40, "H2": 60}, adsorbed={"N": 20})
    return Case(moved(frame, calculator, 1200.0, 100, 0.5), first, groups)


def gas_particle_in(folder: Path) -> Case:
    """The same from a folder, into which it is put if it is not there."""
    file = folder / "groups.json"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        case = gas_particle()
        write(folder / "known.extxyz", case.known)
        write(folder / "frame.extxyz", case.frame)
        file.write_text(json.dumps({group: atoms.tolist() for group, atoms in case.groups.items()}))
    groups = {group: np.array(atoms) for group, atoms in json.loads(file.read_text()).items()}
    return Case(read(folder / "frame.extxyz"), read(folder / "known.extxyz", ":"), groups)


def gas_slab() -> Case:
    """Ir(111), six layers of 6 × 6, N and H on it in the same gas, at 1200 K; centres in its upper layer."""
    body = slab("Ir", miller=(1, 1, 1), layers=6, repeat=(6, 6), vacuum=9.0, a=3.88)
    body.pbc = True
    first, calculator = fitted()
    frame = gas_around(body, {"N2": 16, "H2": 24}, adsorbed={"N": 6, "H": 6})
    height = body.positions[:, 2]
    return Case(
        moved(frame, calculator, 1200.0, 100, 0.5), first, {"face": np.flatnonzero(height > height.max() - 0.5)}
    )


def joined(lower: Atoms, upper: Atoms) -> Atoms:
    """Two grains on each other along x, of two atoms closer than 1.7 Å one, brought to rest and to 600 K by EMT."""
    height = lower.cell[0, 0]
    upper = upper.copy()
    upper.positions[:, 0] += height
    both = lower + upper
    both.set_cell(np.diag([2.0 * height, *lower.cell.lengths()[1:]]))
    both.pbc = True
    both.wrap()
    i, j = neighbor_list("ij", both, 1.7)
    gone: set[int] = set()
    for one, other in zip(i.tolist(), j.tolist(), strict=True):
        if one < other and one not in gone:
            gone.add(other)
    del both[sorted(gone)]
    both.calc = EMT()
    FIRE(both, logfile=None).run(fmax=0.1, steps=60)
    both.calc = None
    return moved(both, EMT(), 600.0, 100, 2.0)


def of_boundary(frame: Atoms) -> Case:
    """The atoms within 3 Å of the boundary in the middle of the cell."""
    off = np.abs(frame.positions[:, 0] - 0.5 * frame.cell[0, 0])
    return Case(frame, known_metal("Ag"), {"boundary": np.flatnonzero(off < 3.0)})


def twist() -> Case:
    """Silver, two grains turned by 22.6° about x, the normal of their (100) boundary."""
    cell = bulk("Ag", cubic=True)
    grains = []
    for sign in (1, -1):
        # (5, ±1) of the cubic cell: turned by ±11.3°, and the same length in both grains
        grain = make_supercell(cell, [[5, 0, 0], [0, 5, sign], [0, -sign, 5]])
        grain.rotate(-sign * np.degrees(np.arctan2(1, 5)), "x", rotate_cell=True)
        grain.wrap()
        grains.append(grain)
    return of_boundary(joined(*grains))


def tilt() -> Case:
    """Silver, symmetric tilt boundary Σ5 (210)[001]."""
    grain = make_supercell(bulk("Ag", cubic=True), [[4, 2, 0], [-1, 2, 0], [0, 0, 1]])
    grain.rotate(-np.degrees(np.arctan2(1, 2)), "z", rotate_cell=True)
    grain = grain * (2, 2, 5)
    grain.wrap()
    mirrored = grain.copy()
    mirrored.positions[:, 0] = -mirrored.positions[:, 0]
    mirrored.wrap()
    return of_boundary(joined(grain, mirrored))


def oxide_particle() -> Case:
    """480 atoms of corundum, a ball, rattled by 0.08 Å, small balls are known too; the centres lie within 4 Å of the rim."""
    atoms = particle("Al2O3", crystal="corundum", n_atoms=480, box=40.0)
    out = np.linalg.norm(atoms.positions - atoms.positions.mean(axis=0), axis=1)
    atoms.rattle(0.08, seed=1)
    rng = np.random.default_rng(0)
    known = perturbed(matsuis_corundum((2, 2, 1)), 48, rng, (0.02, 0.15), 0.03)
    for seed in range(8):
        small = particle("Al2O3", crystal="corundum", n_atoms=120, box=30.0, seed=seed)
        known += perturbed(small, 2, rng, (0.02, 0.15), 0.0)
    return Case(atoms, known, {"rim": np.flatnonzero(out > out.max() - 4.0)}, {"Al": 3.0, "O": -2.0})


CASES: dict[str, Callable[[], Case]] = {
    "bare-particle": bare_particle,
    "gas-particle": gas_particle,
    "gas-slab": gas_slab,
    "twist": twist,
    "tilt": tilt,
    "oxide-particle": oxide_particle,
}


def deepest(atoms: Atoms, chosen: np.ndarray, reach: float = 8.0) -> float:
    """Largest distance of a point of the cell to the nearest of the chosen atoms, images included, Å."""
    images = atoms[chosen].copy()
    lengths = np.maximum(2, np.ceil(np.array(atoms.cell.lengths()) / 0.8)).astype(int)
    axes = [np.arange(n) / n for n in lengths]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3) @ atoms.cell.array
    images.wrap()
    steps = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], [-1, 0, 1], indexing="ij"), axis=-1).reshape(-1, 3)
    every = (images.positions[None] + (steps @ atoms.cell.array)[:, None]).reshape(-1, 3)
    return float(np.minimum(cKDTree(every).query(points)[0], reach).max())


def pairs_of(frame: Atoms) -> tuple[dict[int, list[tuple[int, float]]], set[int]]:
    """Bonded partners of each atom with their distances, Å, and the adsorbed atoms of a frame."""
    symbols = np.array(frame.get_chemical_symbols())
    partners: dict[int, list[tuple[int, float]]] = {}
    adsorbed: set[int] = set()
    for a, b, length in zip(*neighbor_list("ijd", frame, ADSORBED), strict=True):
        names = (symbols[a], symbols[b])
        if length < BOND.get((min(names), max(names)), 0.0):
            partners.setdefault(int(a), []).append((int(b), float(length)))
        if names[0] in GAS and names[1] not in GAS:
            adsorbed.add(int(a))
    return partners, adsorbed


def kept(frame: Atoms, atoms: Atoms, parents: np.ndarray) -> dict[str, int]:
    """Bonds and adsorbates of the frame in a cell, and how many of them are as they were."""
    partners, adsorbed = pairs_of(frame)
    distances = atoms.get_all_distances(mic=True) + 1e6 * np.eye(len(atoms))
    metal = ~np.isin(atoms.symbols, GAS)
    found = {"bonds": 0, "bonds_kept": 0, "adsorbed": 0, "adsorbed_kept": 0}
    for row, parent in enumerate(parents.tolist()):
        for other, length in partners.get(parent, []):
            found["bonds"] += 1
            there = distances[row, np.flatnonzero(parents == other)]
            found["bonds_kept"] += int(there.size > 0 and bool(there.min() <= STRETCH * length))
        if parent in adsorbed:
            found["adsorbed"] += 1
            found["adsorbed_kept"] += int(metal.any() and bool(distances[row, metal].min() <= BOUND))
    return found


def measure(
    name: str, case: Case, n_centres: int, seed: int = 0, cells: list[dict[str, Any]] | None = None
) -> list[dict[str, Any]]:
    """A row for every centre; cells to be drawn are added to ``cells``."""
    species = sorted({str(symbol) for one in [*case.known, case.frame] for symbol in one.symbols})
    u = UncertaintyModel.fit(case.known, SOAP(species=species, **SOAP_SETTINGS))
    has_gas = bool({"H", "N"} & set(species))
    body_in_frame = ~np.isin(case.frame.symbols, GAS) if has_gas else np.ones(len(case.frame), dtype=bool)
    rows = []
    share = -(-n_centres // len(case.groups))
    for group, members in case.groups.items():
        for atom in np.random.default_rng(seed).permutation(members)[:share].tolist():
            row: dict[str, Any] = {"system": name, "group": group, "atom": atom}
            rng = np.random.default_rng([seed, atom])
            started = time.process_time()
            try:
                crops = crop_search(u, case.frame, atom, rng=rng, max_atoms=BUDGET, oxidation_states=case.charges)
            except InputError as refusal:
                rows.append(row | {"refused": str(refusal)})
                print(row | {"refused": str(refusal)}, flush=True)
                continue
            searched = time.process_time()
            best = embed(u, crops)[0]
            relaxed = best.relaxed
            body = ~np.isin(relaxed.atoms.symbols, GAS) if has_gas else np.ones(len(relaxed.atoms), dtype=bool)
            empty_here = deepest(case.frame, body_in_frame) >= HOLE and name not in ("twist", "tilt")
            row |= {
                "n_atoms": len(relaxed.atoms), "kind": best.crop.cell_kind,
                "shell": relaxed.shell_ratio, "core": relaxed.core_worsening,
                "search_s": searched - started, "relax_s": time.process_time() - searched,
                "hole": deepest(relaxed.atoms, body), "vacuum": int(deepest(relaxed.atoms, body) >= HOLE) if empty_here else None,
                "waived": int("surface_rule_waived" in best.crop.notes),
            }  # fmt: skip
            row |= kept(case.frame, relaxed.atoms, relaxed.parent_indices) if has_gas else {}
            rows.append(row)
            if cells is not None and sum(cell["group"] == group for cell in cells) < DRAWN[group]:
                cells.append({
                    "group": group, "atom": atom, "axes": best.crop.axes, "shell": relaxed.shell_ratio,
                    "core_worsening": relaxed.core_worsening, "symbols": str(relaxed.atoms.symbols),
                    "cell": relaxed.atoms.cell.array, "positions": relaxed.atoms.positions,
                    "core": np.flatnonzero(relaxed.core), "centre": relaxed.centre,
                })  # fmt: skip
            print(
                {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}, flush=True
            )
    return rows


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--centres", type=int, default=20, help="of every frame, in equal parts of its groups")
    parser.add_argument("--cells", type=Path, metavar="FILE.json", help="keep five cells of the particle in gas there")
    parser.add_argument("--case", type=Path, help="folder in which the frame of the particle in gas is kept, or found")
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    for name in arguments.systems:
        cells: list[dict[str, Any]] | None = [] if arguments.cells and name == "gas-particle" else None
        folder = arguments.case if name == "gas-particle" else None
        case = gas_particle_in(folder) if folder else CASES[name]()
        rows = measure(name, case, arguments.centres, cells=cells)
        if cells is not None:
            keep(arguments.cells, cells=cells)
        for line in summary(rows):
            print(line, flush=True)
        keep(arguments.out, **{name: rows})


if __name__ == "__main__":
    main()
