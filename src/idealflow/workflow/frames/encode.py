"""Between the science's objects and what documents and artifacts hold: structures and frames."""

from __future__ import annotations

import io

import numpy as np
from ase import Atoms

from idealflow.core.dynamics import frame_arrays
from idealflow.core.structure import from_arrays, of_the_label, set_label, to_arrays
from idealflow.errors import ArtifactError, InputError
from idealflow.schemas import Artifact, LabelledDoc, StoredStructure
from idealflow.storage import ArtifactStore

__all__ = [
    "labelled_atoms",
    "load_frame",
    "save_frame",
    "to_atoms",
    "to_stored",
]


def to_atoms(structure: StoredStructure) -> Atoms:
    """The ase Atoms of a stored structure, exact to the last bit."""
    return from_arrays(dict(structure))


def to_stored(atoms: Atoms) -> StoredStructure:
    """The stored form of an ase Atoms; what it carries is in :mod:`idealflow.core.structure`, nothing else travels."""
    return StoredStructure.model_validate({name: array.tolist() for name, array in to_arrays(atoms).items()})


def labelled_atoms(doc: LabelledDoc) -> Atoms:
    """Training form of an accepted label: Atoms with energy (eV), forces (eV/Å) and, where given, stress (eV/Å³)."""
    if doc.state != "accepted" or doc.structure is None or doc.energy is None or doc.forces is None:
        raise InputError(f"only accepted labels can be learned, {doc.request_key} is {doc.state}: {doc.cause}")
    atoms = of_the_label(to_atoms(doc.structure))
    set_label(atoms, doc.energy, doc.forces, doc.stress)
    atoms.info["request_key"] = doc.request_key
    return atoms


def save_frame(store: ArtifactStore, atoms: Atoms) -> Artifact:
    """Store a frame, with what it carries, as an npz artifact."""
    buffer = io.BytesIO()
    np.savez(buffer, **to_arrays(atoms))  # type: ignore[arg-type]  # numpy types its keywords as flags
    return store.put_bytes(buffer.getvalue(), suffix=".npz")


def load_frame(store: ArtifactStore, artifact: Artifact) -> Atoms:
    """The frame of an npz artifact: one written by :func:`save_frame`, or an MD state.

    Raises
    ------
    ArtifactError
        If the file is damaged or holds no frame.
    """
    path = store.get(artifact)
    with np.load(path, allow_pickle=False) as data:
        missing = {"numbers", "positions", "cell", "pbc"} - set(data.files)
        if missing:
            raise ArtifactError(f"{path} holds no frame: {sorted(missing)} missing; expected an MD state or frame file")
        names = [name for name in data.files if not name.startswith(("sampler.", "__"))]
        return from_arrays(frame_arrays({name: data[name] for name in names}))
