"""Labelled datasets as files: the user's extended XYZ in, exact npz shards inside, extended XYZ out."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read

from idealflow.core.structure import from_arrays, of_the_label, to_arrays
from idealflow.errors import InputError
from idealflow.schemas import Artifact
from idealflow.storage import ArtifactStore
from idealflow.workflow.frames.check import check_structure

_GEOMETRY = ("numbers", "positions", "cell", "pbc")
_CARRIED = ("moments", "charge", "spin")

__all__ = ["read_dataset", "read_shard", "shard_keys", "write_shard"]


def read_dataset(path: str | Path) -> list[Atoms]:
    """Read a labelled dataset from any file ase reads (extended XYZ).

    Raises
    ------
    InputError
        If the file is missing, empty or unreadable, or a structure lacks energy or forces.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"dataset {path} does not exist; give the path of an extended XYZ file")
    try:
        frames = read(path, index=":")
    except Exception as error:  # readers raise anything; the cause is passed on
        raise InputError(f"dataset {path} cannot be read: {error}") from error
    if not frames:
        raise InputError(f"dataset {path} is empty; it must hold at least one labelled structure")
    for i, atoms in enumerate(frames):
        results = atoms.calc.results if atoms.calc is not None else {}
        missing = [name for name in ("energy", "forces") if name not in results]
        if missing:
            raise InputError(
                f"structure {i} of {path} has no {' and no '.join(missing)}; every structure of a dataset needs both "
                "(eV and eV/Å, the keys `energy` and `forces` of extended XYZ)"
            )
        try:
            check_structure(atoms)
        except InputError as error:
            raise InputError(f"structure {i} of {path}: {error}") from None
    return frames


def write_shard(store: ArtifactStore, frames: Sequence[Atoms]) -> Artifact:
    """Store labelled structures as one npz artifact, exact to the last bit."""
    arrays: dict[str, np.ndarray] = {"n": np.asarray(len(frames))}
    for i, atoms in enumerate(frames):
        results = atoms.calc.results
        arrays |= {f"{i}/{name}": array for name, array in to_arrays(of_the_label(atoms)).items()}
        arrays |= {
            f"{i}/energy": np.asarray(results["energy"]),
            f"{i}/forces": np.asarray(results["forces"]),
        }
        if results.get("stress") is not None:
            arrays[f"{i}/stress"] = np.asarray(results["stress"])
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # numpy types its keywords as flags
    return store.put_bytes(buffer.getvalue(), suffix=".npz")


def read_shard(store: ArtifactStore, artifact: Artifact) -> list[Atoms]:
    """The labelled structures of a shard."""
    frames = []
    with np.load(store.get(artifact), allow_pickle=False) as data:
        for i in range(int(data["n"])):
            names = [*_GEOMETRY, *(name for name in _CARRIED if f"{i}/{name}" in data.files)]
            atoms = from_arrays({name: data[f"{i}/{name}"] for name in names})
            results = {"energy": float(data[f"{i}/energy"]), "forces": data[f"{i}/forces"]}
            if f"{i}/stress" in data.files:
                results["stress"] = data[f"{i}/stress"]
            atoms.calc = SinglePointCalculator(atoms, **results)
            frames.append(atoms)
    return frames


def shard_keys(artifact: Artifact, n: int) -> list[str]:
    """Ledger keys of the structures of a shard."""
    return [f"dataset:{artifact.path}:{artifact.sha256}:{artifact.size}:{i}" for i in range(n)]
