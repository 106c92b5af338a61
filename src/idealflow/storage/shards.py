"""Shards: files of structures that came with their labels, from a dataset or an earlier campaign."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import numpy as np
from ase import Atoms

from idealflow.schemas import Artifact
from idealflow.storage.artifacts import ArtifactStore

__all__ = ["is_shard_key", "read_shard", "read_shard_keys", "shard_keys", "write_shard"]

_GEOMETRY = ("numbers", "positions", "cell", "pbc")
_CARRIED = ("moments", "charge", "spin")
_WEIGHT = "force_weight"
_SHARD = "dataset:"


def write_shard(store: ArtifactStore, frames: Sequence[Atoms]) -> Artifact:
    """Store labelled structures as one npz artifact, exact to the last bit.

    Parameters
    ----------
    store
        Where to.
    frames
        Structures whose calculators hold energy (eV), forces (n, 3) (eV/Å) and, optionally, stress (6,) (eV/Å³). An array
        ``force_weight`` (n,), which tells the core of a substructure, is kept.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> store = ArtifactStore(tempfile.mkdtemp())
    >>> shard = write_shard(store, [set_label(bulk("Cu"), energy=-3.7, forces=[[0, 0, 0]])])
    >>> shard.path.endswith(".npz")
    True
    """
    from idealflow.core.structure import of_the_label, to_arrays  # with ASE's constraints, and so scipy

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
        if _WEIGHT in atoms.arrays:
            arrays[f"{i}/{_WEIGHT}"] = atoms.arrays[_WEIGHT]
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # numpy types its keywords as flags
    return store.put_bytes(buffer.getvalue(), suffix=".npz")


def read_shard(store: ArtifactStore, artifact: Artifact, *, core_forces: bool = False) -> list[Atoms]:
    """Read the labelled structures of a shard, in their order; with ``core_forces`` also what was told of their cores.

    Raises
    ------
    ArtifactError
        If the file is missing or damaged.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> store = ArtifactStore(tempfile.mkdtemp())
    >>> shard = write_shard(store, [set_label(bulk("Cu"), energy=-3.7, forces=[[0, 0, 0]])])
    >>> read_shard(store, shard)[0].get_potential_energy()
    -3.7
    """
    from idealflow.core.structure import from_arrays, set_label  # with ASE's constraints, and so scipy

    frames = []
    with np.load(store.get(artifact), allow_pickle=False) as data:
        for i in range(int(data["n"])):
            names = [*_GEOMETRY, *(name for name in _CARRIED if f"{i}/{name}" in data.files)]
            atoms = from_arrays({name: data[f"{i}/{name}"] for name in names})
            stress = data[f"{i}/stress"] if f"{i}/stress" in data.files else None
            frames.append(set_label(atoms, float(data[f"{i}/energy"]), data[f"{i}/forces"], stress))
            if core_forces and f"{i}/{_WEIGHT}" in data.files:
                atoms.set_array(_WEIGHT, data[f"{i}/{_WEIGHT}"])
    return frames


def shard_keys(artifact: Artifact, n: int) -> list[str]:
    """Return the keys under which the ledger of labels lists the ``n`` structures of a shard.

    Examples
    --------
    >>> shard_keys(Artifact(path="ab/abcd.npz", sha256="abcd", size=10), 2)
    ['dataset:ab/abcd.npz:abcd:10:0', 'dataset:ab/abcd.npz:abcd:10:1']
    """
    return [f"{_SHARD}{artifact.path}:{artifact.sha256}:{artifact.size}:{i}" for i in range(n)]


def is_shard_key(key: str) -> bool:
    """Tell whether a key of the ledger names a structure of a shard rather than a label that a document holds.

    Examples
    --------
    >>> is_shard_key("dataset:ab/abcd.npz:abcd:10:0"), is_shard_key("cu/bootstrap/0000")
    (True, False)
    """
    return key.startswith(_SHARD)


def read_shard_keys(store: ArtifactStore, keys: Iterable[str], *, core_forces: bool = False) -> dict[str, Atoms]:
    """Read the labelled structures that keys of shards name, by key; keys that are not of shards are passed over.

    With ``core_forces`` they have an array ``force_weight`` where the shard tells their core.

    Raises
    ------
    ArtifactError
        If a file is missing or damaged.

    Examples
    --------
    >>> import tempfile
    >>> from ase.build import bulk
    >>> from idealflow.core.structure import set_label
    >>> store = ArtifactStore(tempfile.mkdtemp())
    >>> shard = write_shard(store, [set_label(bulk("Cu"), energy=-3.7, forces=[[0, 0, 0]])])
    >>> [atoms.get_chemical_formula() for atoms in read_shard_keys(store, shard_keys(shard, 1)).values()]
    ['Cu']
    """
    shards: dict[str, list[Atoms]] = {}
    found: dict[str, Atoms] = {}
    for key in keys:
        if is_shard_key(key):
            path, sha256, size, index = key.removeprefix(_SHARD).split(":")
            if path not in shards:
                shards[path] = read_shard(
                    store, Artifact(path=path, sha256=sha256, size=int(size)), core_forces=core_forces
                )
            found[key] = shards[path][int(index)]
    return found
