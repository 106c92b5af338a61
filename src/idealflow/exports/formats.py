"""A labelled dataset in the files that other programs train on or show, each under the keys that its readers look for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from idealflow.core.extxyz import XyzFrame, write_extxyz
from idealflow.exports.dataset import virial

__all__ = ["DATASET_FORMATS", "FOLDERS", "KEYS"]

#: where each format has energy, forces and stress, for the data card
KEYS = {
    "extxyz": "`energy` (eV), `forces` (eV/Å) and `stress` (eV/Å³, ASE's sign) where there is one",
    "mace": "`REF_energy` (eV), `REF_forces` (eV/Å) and `REF_stress` (eV/Å³, ASE's sign) where there is one, which MACE reads by "
    "default; free atoms have `config_type=IsolatedAtom`",
    "nep": "`energy` (eV), `force` (eV/Å) and `virial` (eV, −stress × volume) where there is one, as GPUMD's `nep` reads them; "
    "every structure is periodic, with 10 Å of vacuum on each side in directions that are not",
    "deepmd": "`energy.npy` (eV), `force.npy` (eV/Å), `coord.npy` and `box.npy` (Å) and `virial.npy` (eV, −stress × volume), "
    "a system for each composition, with or without virial; every structure is periodic, with 10 Å of vacuum on each side in "
    "directions that are not; atoms are sorted by species",
    "ase-db": "energy (eV), forces (eV/Å) and stress (eV/Å³) of each row, as ASE's `Row.toatoms()` gives them",
    "chemiscope": "`energy per atom` (eV), `largest force` and, of each atom, `force` (eV/Å), to look at, not to train on",
}

_COMMENT = (
    "config_type", "split", "campaign", "request_key", "label_origin", "method", "uuid", "walker", "step", "atom", "attempt",
    "uncertainty", "model_version", "embedding", "centre", "charge", "spin",
)  # fmt: skip
_COLUMNS = ("core", "initial_magmoms")


def _extxyz(path: Path, frames: Sequence[Atoms]) -> None:
    write_extxyz(path, _labelled(frames, "energy", "forces", "stress"))


def _mace(path: Path, frames: Sequence[Atoms]) -> None:
    names = {"charge": "total_charge", "spin": "total_spin"}
    write_extxyz(
        path,
        (
            (atoms, {names.get(name, name): value for name, value in info.items()}, columns)
            for atoms, info, columns in _labelled(frames, "REF_energy", "REF_forces", "REF_stress")
        ),
    )


def _labelled(frames: Sequence[Atoms], energy: str, forces: str, stress: str) -> Iterator[XyzFrame]:
    """The frames with everything that is known of them, and their labels under these names."""
    for atoms in frames:
        results = atoms.calc.results
        info: dict[str, Any] = {energy: float(results["energy"])}
        if results.get("stress") is not None:
            info[stress] = _full(results["stress"])
        info |= {name: atoms.info[name] for name in _COMMENT if name in atoms.info}
        columns = {forces: results["forces"]}
        yield atoms, info, columns | {name: atoms.arrays[name] for name in _COLUMNS if name in atoms.arrays}


def _nep(path: Path, frames: Sequence[Atoms]) -> None:
    from idealflow.labelling import in_a_box  # with the labellers, which the other formats do without

    def made() -> Iterator[XyzFrame]:
        for atoms in frames:
            results, boxed = atoms.calc.results, in_a_box(atoms)
            info: dict[str, Any] = {"energy": float(results["energy"])}
            if results.get("stress") is not None:
                info["virial"] = virial(atoms, results["stress"])
            # nothing else: GPUMD takes any word that begins with `charge=`, `weight=`, ... for its own
            info |= {name: atoms.info[name] for name in ("config_type", "request_key")}
            yield boxed, info, {"force": results["forces"]}

    write_extxyz(path, made())


def _deepmd(path: Path, frames: Sequence[Atoms]) -> None:
    from idealflow.labelling import in_a_box

    species = sorted({symbol for atoms in frames for symbol in atoms.get_chemical_symbols()})
    systems: dict[str, list[tuple[Atoms, np.ndarray]]] = {}
    for atoms in frames:
        order = np.argsort([species.index(symbol) for symbol in atoms.get_chemical_symbols()], kind="stable")
        name = atoms[order].get_chemical_formula(mode="hill")
        if atoms.calc.results.get("stress") is None:
            name += "-without-virial"
        systems.setdefault(name, []).append((atoms, order))
    for name, members in sorted(systems.items()):
        system = path / name
        (system / "set.000").mkdir(parents=True)
        first, order = members[0]
        kinds = [species.index(first[int(i)].symbol) for i in order]
        (system / "type.raw").write_text("".join(f"{kind}\n" for kind in kinds))
        (system / "type_map.raw").write_text("".join(f"{symbol}\n" for symbol in species))
        keys = "".join(f"{atoms.info['request_key']}\n" for atoms, _ in members)
        (system / "request_keys.txt").write_text(keys)
        boxed = [in_a_box(atoms) for atoms, _ in members]
        arrays = {
            "coord": [box.positions[order].ravel() for box, (_, order) in zip(boxed, members, strict=True)],
            "box": [box.cell.array.ravel() for box in boxed],
            "energy": [[atoms.calc.results["energy"]] for atoms, _ in members],
            "force": [atoms.calc.results["forces"][order].ravel() for atoms, order in members],
        }
        if first.calc.results.get("stress") is not None:
            arrays["virial"] = [virial(atoms, atoms.calc.results["stress"]).ravel() for atoms, _ in members]
        for what, rows in arrays.items():
            values = np.array(rows, dtype=np.float64)
            np.save(system / "set.000" / f"{what}.npy", values[:, 0] if what == "energy" else values)


def _ase_db(path: Path, frames: Sequence[Atoms]) -> None:
    from ase.db import connect

    with connect(path, type="db", append=False) as database:
        for atoms in frames:
            known = {name: atoms.info[name] for name in _COMMENT if name in atoms.info}
            # names that ASE keeps for itself, or refuses
            pairs = {
                {"charge": "total_charge", "spin": "multiplicity"}.get(name, name): value
                for name, value in known.items()
            }
            core = {"core": np.flatnonzero(atoms.arrays["core"]).tolist()} if "core" in atoms.arrays else {}
            database.write(atoms, key_value_pairs=pairs, data=core)


def _chemiscope(path: Path, frames: Sequence[Atoms]) -> None:
    forces = [np.linalg.norm(atoms.calc.results["forces"], axis=1) for atoms in frames]
    texts = {
        name: [str(atoms.info.get(name, "")) for atoms in frames] for name in ("config_type", "split", "request_key")
    }
    properties: dict[str, Any] = {
        "energy per atom": _property("structure", [a.calc.results["energy"] / len(a) for a in frames], "eV"),
        "largest force": _property("structure", [each.max() for each in forces], "eV/Å"),
        "atoms": _property("structure", [len(atoms) for atoms in frames]),
        "number": _property("structure", list(range(len(frames)))),
        "force": _property("atom", np.concatenate(forces).tolist(), "eV/Å"),
    } | {name: _property("structure", values) for name, values in texts.items()}
    if all("core" in atoms.arrays for atoms in frames):
        core = np.concatenate([atoms.arrays["core"] for atoms in frames])
        properties["core"] = _property("atom", core.astype(int).tolist())
    campaign = frames[0].info["campaign"]
    page = {
        "meta": {"name": f"Labelled structures of {campaign}", "description": "exported by idealflow"},
        "structures": [_structure(atoms) for atoms in frames],
        "properties": properties,
        "settings": {"map": {"x": {"property": "energy per atom"}, "y": {"property": "largest force"}}},
    }
    path.write_text(json.dumps(page), encoding="utf-8")


def _structure(atoms: Atoms) -> dict[str, Any]:
    found = {"size": len(atoms), "names": atoms.get_chemical_symbols()}
    found |= dict(zip("xyz", atoms.positions.T.tolist(), strict=True))
    if atoms.pbc.any() and atoms.cell.rank == 3:
        found["cell"] = atoms.cell.array.ravel().tolist()
    return found


def _property(target: str, values: list[Any], units: str | None = None) -> dict[str, Any]:
    plain = [value.item() if isinstance(value, np.generic) else value for value in values]
    return {"target": target, "values": plain} | ({} if units is None else {"units": units})


def _full(stress: np.ndarray) -> np.ndarray:
    """The stress tensor (3, 3) of Voigt's six components."""
    xx, yy, zz, yz, xz, xy = stress
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


DATASET_FORMATS: dict[str, Callable[[Path, Sequence[Atoms]], None]] = {
    "extxyz": _extxyz,
    "mace": _mace,
    "nep": _nep,
    "deepmd": _deepmd,
    "ase-db": _ase_db,
    "chemiscope": _chemiscope,
}
"""Format → function that writes a dataset in it, to a file or, for those in :data:`FOLDERS`, into a new folder."""

#: formats that are folders
FOLDERS = frozenset({"deepmd"})
