"""Whether other programs read what `idealflow export` writes: OVITO, MACE, dpdata, chemiscope, LAMMPS's dump through ASE.

`make test-exports` runs it twice. `write FOLDER`, in the project's environment, writes every format and beside them `truth.json`.
`read FOLDER`, in an environment that has the readers and nothing of ours, reads each with its program's own reader and compares.
The structures are the sample campaign's and four of gold and copper (a cell, a slab, a particle, a free atom), labelled with EMT.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read

ISOLATED = "IsolatedAtom"


def gold_and_copper() -> list[Atoms]:
    """Structures of every periodicity, labelled with EMT, with what an export says of them."""
    from ase.build import bulk, fcc111
    from ase.calculators.emt import EMT
    from ase.cluster import Octahedron

    from idealflow.core.structure import set_label

    cell = bulk("Cu", cubic=True) * 2
    cell.numbers[[1, 6, 9]] = 79
    cell.set_cell(cell.cell.array @ np.array([[1, 0.1, 0], [0, 1, 0.05], [0.02, 0, 1]]), scale_atoms=True)
    slab = fcc111("Cu", (2, 2, 3), vacuum=6.0)
    slab.numbers[-1] = 79
    made = []
    for number, (atoms, config_type) in enumerate(
        [(cell, "cell"), (slab, "slab"), (Octahedron("Au", 4, 1), "particle"), (Atoms("Cu"), ISOLATED)]
    ):
        atoms.rattle(0.05, seed=number)
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        set_label(atoms, energy, forces, atoms.get_stress() if atoms.pbc.all() else None)
        atoms.set_constraint()
        key = f"made/{number}"
        atoms.info = {
            "campaign": "made",
            "config_type": config_type,
            "split": "train",
            "request_key": key,
            "label_origin": "made",
        }
        atoms.info["method"] = "EMT (stands in for DFT)"
        made.append(atoms)
    return made


def write(folder: Path) -> None:
    """Write a dataset and a trajectory in every format."""
    from idealflow.exports.dataset import exported_dataset
    from idealflow.exports.formats import DATASET_FORMATS, FOLDERS
    from idealflow.exports.trajectory import TRAJECTORY_FORMATS, moved_frames
    from idealflow.provenance import sample_campaign

    folder.mkdir(parents=True, exist_ok=True)
    campaign = sample_campaign()
    frames = [*exported_dataset(campaign), *gold_and_copper()]
    for form, written in DATASET_FORMATS.items():
        path = folder / ("dataset.json" if form == "chemiscope" else f"dataset-{form}")
        if form in FOLDERS:
            path.mkdir()
        written(path, frames)
    for form, write_trajectory in TRAJECTORY_FORMATS.items():
        # the sample keeps no uncertainties of its models; any numbers will do for a column
        moved = (
            replace(frame, columns=frame.columns | {"uncertainty": np.linspace(0.0, 2.0, len(frame.atoms))})
            for frame in moved_frames(campaign, uncertain=False)
        )
        write_trajectory(folder / f"trajectory-{form}", moved, 0)
    truth = {
        "dataset": [_plain(atoms) for atoms in frames],
        "trajectory": [_plain(atoms) for atoms in campaign.trajectory()],
    }
    (folder / "truth.json").write_text(json.dumps(truth))


def _plain(atoms: Atoms) -> dict[str, Any]:
    results = {} if atoms.calc is None else atoms.calc.results
    stress = results.get("stress")
    return {
        "symbols": atoms.get_chemical_symbols(),
        "positions": atoms.positions.tolist(),
        "cell": atoms.cell.array.tolist(),
        "pbc": atoms.pbc.tolist(),
        "energy": results.get("energy"),
        "forces": None if not results else results["forces"].tolist(),
        "stress": None if stress is None else stress.tolist(),
        "velocities": atoms.get_velocities().tolist(),
        "config_type": atoms.info.get("config_type"),
    }


def _tensor(stress: list[float]) -> np.ndarray:
    xx, yy, zz, yz, xz, xy = stress
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def read_mace(folder: Path, truth: dict[str, Any]) -> str:
    """MACE's reader with its default keys."""
    from mace.data.utils import KeySpecification, load_from_xyz, update_keyspec_from_kwargs
    from mace.tools.default_keys import DefaultKeys

    keys = update_keyspec_from_kwargs(KeySpecification(), DefaultKeys.keydict())
    energies, found = load_from_xyz(str(folder / "dataset-mace"), keys, extract_atomic_energies=True)
    known = [one for one in truth["dataset"] if one["config_type"] != ISOLATED]
    free = [one for one in truth["dataset"] if one["config_type"] == ISOLATED]
    assert energies == {29: free[0]["energy"]}, energies
    assert len(found) == len(known)
    for one, other in zip(known, found, strict=True):
        assert other.properties["energy"] == one["energy"]
        assert np.array_equal(other.properties["forces"], one["forces"])
        assert other.property_weights["energy"] == other.property_weights["forces"] == 1.0
        assert other.property_weights["stress"] == float(one["stress"] is not None)
        if one["stress"] is not None:
            assert np.allclose(
                np.reshape(other.properties["stress"], (3, 3)), _tensor(one["stress"]), rtol=0, atol=1e-15
            )
    return f"{len(found)} configurations with REF_energy, REF_forces, REF_stress; the energy of the free atom"


def read_dpdata(folder: Path, truth: dict[str, Any]) -> str:
    """Dpdata's readers of DeePMD-kit's folders, and of extended XYZ."""
    import dpdata

    systems = [
        dpdata.LabeledSystem(str(path), fmt="deepmd/npy") for path in sorted((folder / "dataset-deepmd").iterdir())
    ]
    found = {}
    for system in systems:
        data = system.data
        names = [data["atom_names"][kind] for kind in data["atom_types"]]
        for i in range(len(system)):
            virial = data["virials"][i] if "virials" in data else None
            found[float(data["energies"][i])] = (names, data["coords"][i], data["cells"][i], data["forces"][i], virial)
    assert len(found) == len(truth["dataset"])
    for one in truth["dataset"]:
        names, positions, cell, forces, virial = found[one["energy"]]
        order = np.argsort(one["symbols"], kind="stable")
        assert names == [one["symbols"][i] for i in order]
        shift = positions - np.asarray(one["positions"])[order]
        assert np.allclose(shift, shift[0], rtol=0, atol=1e-9)  # vacuum moves all atoms alike
        assert np.allclose(forces, np.asarray(one["forces"])[order], rtol=0, atol=1e-12)
        assert (virial is None) == (one["stress"] is None)
        if virial is not None:
            assert np.allclose(virial, -_tensor(one["stress"]) * abs(np.linalg.det(cell)), rtol=0, atol=1e-9)
    plain = dpdata.MultiSystems.from_file(str(folder / "dataset-extxyz"), fmt="extxyz")
    assert plain.get_nframes() == len(truth["dataset"])
    return f"{len(found)} frames in {len(systems)} systems of deepmd/npy, and as many of extxyz"


def read_ovito(folder: Path, truth: dict[str, Any]) -> str:
    """OVITO's readers of extended XYZ and of LAMMPS's dump."""
    from ovito.io import import_file

    data = import_file(str(folder / "dataset-extxyz"), input_format="xyz")
    assert data.num_frames == len(truth["dataset"])
    for i, one in enumerate(truth["dataset"]):
        frame = data.compute(i)
        assert np.allclose(frame.particles["Position"][:], one["positions"], rtol=0, atol=1e-9)
        assert np.allclose(frame.particles["Force"][:], one["forces"], rtol=0, atol=1e-9)
        assert list(frame.cell.pbc) == one["pbc"] if any(one["pbc"]) else True
    for form in ("extxyz", "lammps-dump"):
        data = import_file(
            str(folder / f"trajectory-{form}"), input_format={"extxyz": "xyz", "lammps-dump": "lammps/dump"}[form]
        )
        assert data.num_frames == len(truth["trajectory"]), data.num_frames
        frame = data.compute(data.num_frames - 1)
        assert np.allclose(frame.particles["uncertainty"][:], np.linspace(0.0, 2.0, frame.particles.count))
        assert int(np.sum(frame.particles["learned"][:])) == 1
    return (
        f"{len(truth['dataset'])} structures with forces; {data.num_frames} frames with uncertainty and learned atoms"
    )


def read_chemiscope(folder: Path, truth: dict[str, Any]) -> str:
    """Chemiscope's own input of the same structures, and its widget."""
    import chemiscope

    ours = json.loads((folder / "dataset.json").read_text())
    frames = read(folder / "dataset-extxyz", ":", format="extxyz")
    theirs = chemiscope.create_input(structures=frames, metadata=ours["meta"], properties=ours["properties"])
    for one, other in zip(ours["structures"], theirs["structures"], strict=True):
        assert (one["size"], one["names"]) == (other["size"], other["names"])
        assert all(np.allclose(one[axis], other[axis]) for axis in "xyz")
    assert set(theirs["properties"]) == set(ours["properties"])
    assert len(ours["structures"]) == len(truth["dataset"])
    assert chemiscope.show_input(str(folder / "dataset.json")) is not None
    return f"{len(ours['structures'])} structures, {len(ours['properties'])} properties"


def read_ase(folder: Path, truth: dict[str, Any]) -> str:
    """ASE's readers of the database, the trajectory and the dump."""
    from ase.db import connect

    with connect(folder / "dataset-ase-db", type="db") as database:
        rows = [row.toatoms() for row in database.select()]
    assert [row.get_potential_energy() for row in rows] == [one["energy"] for one in truth["dataset"]]
    moved = read(folder / "trajectory-traj", ":", format="traj")
    dumped = read(folder / "trajectory-lammps-dump", ":", format="lammps-dump-text")
    for one, other, third in zip(truth["trajectory"], moved, dumped, strict=True):
        assert np.array_equal(other.positions, one["positions"])
        assert np.allclose(other.get_velocities(), one["velocities"], rtol=0, atol=1e-12)
        assert third.get_chemical_symbols() == one["symbols"]
        assert np.allclose(third.positions, one["positions"], rtol=0, atol=1e-6)
        assert np.allclose(third.get_velocities(), one["velocities"], rtol=0, atol=1e-9)
    return f"{len(rows)} rows; {len(moved)} frames of .traj and of the dump"


READERS: dict[str, Callable[[Path, dict[str, Any]], str]] = {
    "MACE": read_mace,
    "dpdata": read_dpdata,
    "OVITO": read_ovito,
    "chemiscope": read_chemiscope,
    "ASE": read_ase,
}


def main() -> int:
    """Write, or read and say what was read."""
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "write":
        write(folder)
        return 0
    truth = json.loads((folder / "truth.json").read_text())
    for name, reader in READERS.items():
        print(f"{name}: {reader(folder, truth)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
