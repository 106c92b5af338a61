"""Labelled datasets: the user's files in, exact npz shards inside."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from idealflow.core.structure import from_arrays, of_the_label, set_label, to_arrays
from idealflow.errors import InputError
from idealflow.labelling import geometry_key
from idealflow.schemas import Artifact
from idealflow.storage import ArtifactStore
from idealflow.workflow.frames.check import check_structure
from idealflow.workflow.frames.dataset_files import read_files
from idealflow.workflow.frames.dataset_keys import DatasetKey, labelled
from idealflow.workflow.jobs.progress import note

_GEOMETRY = ("numbers", "positions", "cell", "pbc")
_CARRIED = ("moments", "charge", "spin")

__all__ = ["read_dataset", "read_shard", "shard_keys", "write_shard"]


def read_dataset(path: str | Path, keys: Mapping[DatasetKey, str] | None = None) -> list[Atoms]:
    """Read a labelled dataset: energy (eV), forces (eV/Å) and, where known, stress (eV/Å³) as results of every structure.

    Parameters
    ----------
    path
        Whatever :func:`~idealflow.workflow.frames.dataset_files.read_files` reads.
    keys
        Names under which the files have energy, forces, stress or virial; those of ASE, MACE, QUIP and GPUMD are known.

    Raises
    ------
    InputError
        If it is missing, empty or unreadable, a structure lacks energy or forces, or no stage could work on it.
    """
    path = Path(path)
    frames = labelled(read_files(path), path, keys)
    for i, atoms in enumerate(frames):
        atoms.set_constraint()  # of whoever made it; forces are learned on every atom
        if atoms.arrays.get("initial_magmoms", atoms.numbers).ndim != 1:
            del atoms.arrays["initial_magmoms"]  # not collinear: nothing here could use them
        try:
            check_structure(atoms)
        except InputError as error:
            raise InputError(f"structure {i} of {path}: {error}") from error
    _say_duplicates(frames, path)
    return frames


def _say_duplicates(frames: Sequence[Atoms], path: Path) -> None:
    """Say which structures are the same frame."""
    first: dict[str, int] = {}
    again = [
        (first[key], i)
        for i, key in enumerate(geometry_key(atoms, {}) for atoms in frames)
        if first.setdefault(key, i) != i
    ]
    if not again:
        return
    one, other = again[0]
    apart = max(
        abs(frames[i].calc.results["energy"] - frames[j].calc.results["energy"]) / len(frames[i]) for i, j in again
    )
    note(
        "dataset",
        f"{path.name}: {len(again)} of {len(frames)} structures are in it already (the first is {other}, the same as {one})"
        + (f"; their energies differ by up to {1000 * apart:.3g} meV per atom" if apart > 1e-6 else "")
        + "; they count as often as they occur",
    )


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
            stress = data[f"{i}/stress"] if f"{i}/stress" in data.files else None
            frames.append(set_label(atoms, float(data[f"{i}/energy"]), data[f"{i}/forces"], stress))
    return frames


def shard_keys(artifact: Artifact, n: int) -> list[str]:
    """Ledger keys of the structures of a shard."""
    return [f"dataset:{artifact.path}:{artifact.sha256}:{artifact.size}:{i}" for i in range(n)]
