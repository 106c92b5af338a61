"""Between the science's objects and what documents and artifacts hold: structures, frames, learners."""

from __future__ import annotations

import io
from collections import OrderedDict
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from idealflow.errors import ArtifactError, InputError
from idealflow.forcefields import ForceField, load_force_field
from idealflow.schemas import Artifact, LabelledDoc, LearnerVersion, StoredStructure
from idealflow.storage import ArtifactStore
from idealflow.workflow.learner.uncertainties import Uncertainty, load_uncertainty

__all__ = [
    "labelled_atoms",
    "load_force_field_artifact",
    "load_frame",
    "load_uncertainty_artifact",
    "save_frame",
    "to_atoms",
    "to_stored",
]

_CACHE_SIZE = 4
_loaded: OrderedDict[tuple[str, str], Any] = OrderedDict()


def to_atoms(structure: StoredStructure) -> Atoms:
    """The ase Atoms of a stored structure, exact to the last bit."""
    return Atoms(numbers=structure.numbers, positions=structure.positions, cell=structure.cell, pbc=structure.pbc)


def to_stored(atoms: Atoms) -> StoredStructure:
    """The stored form of an ase Atoms: species, positions, cell and periodicity; nothing else travels."""
    return StoredStructure(
        numbers=atoms.numbers.tolist(),
        positions=atoms.positions.tolist(),
        cell=np.asarray(atoms.cell).tolist(),
        pbc=[bool(flag) for flag in atoms.pbc],
    )


def labelled_atoms(doc: LabelledDoc) -> Atoms:
    """Training form of an accepted label: Atoms with energy (eV), forces (eV/Å) and, where given, stress (eV/Å³)."""
    if doc.state != "accepted" or doc.structure is None:
        raise InputError(f"only accepted labels can be learned, {doc.request_key} is {doc.state}: {doc.cause}")
    atoms = to_atoms(doc.structure)
    results: dict[str, Any] = {"energy": doc.energy, "forces": np.asarray(doc.forces, dtype=float)}
    if doc.stress is not None:
        results["stress"] = np.asarray(doc.stress, dtype=float)
    atoms.calc = SinglePointCalculator(atoms, **results)
    atoms.info["request_key"] = doc.request_key
    return atoms


def save_frame(store: ArtifactStore, atoms: Atoms) -> Artifact:
    """Store a frame (numbers, positions, cell, pbc) as an npz artifact."""
    buffer = io.BytesIO()
    np.savez(buffer, numbers=atoms.numbers, positions=atoms.positions, cell=np.asarray(atoms.cell), pbc=atoms.pbc)
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
        return Atoms(numbers=data["numbers"], positions=data["positions"], cell=data["cell"], pbc=data["pbc"])


def load_force_field_artifact(store: ArtifactStore, learner: LearnerVersion) -> ForceField:
    """The force field of a learner version; cached per process, so treat it as read-only (``copy()`` to train)."""
    return _cached("force_field", learner.force_field, store, load_force_field)


def load_uncertainty_artifact(store: ArtifactStore, learner: LearnerVersion) -> Uncertainty:
    """The uncertainty of a learner version; cached per process, so treat it as read-only."""
    return _cached("uncertainty", learner.uncertainty, store, load_uncertainty)


def _cached(kind: str, artifact: Artifact, store: ArtifactStore, load: Any) -> Any:
    key = (kind, artifact.sha256)
    if key not in _loaded:
        _loaded[key] = load(store.get(artifact))
        while len(_loaded) > _CACHE_SIZE:
            _loaded.popitem(last=False)
    _loaded.move_to_end(key)
    return _loaded[key]
