"""Structures to and from documents and artifacts."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from idealflow.core.dynamics import frame_arrays
from idealflow.core.structure import from_arrays, of_the_label, set_label, to_arrays
from idealflow.errors import ArtifactError, InputError
from idealflow.schemas import Artifact, LabelledDoc, StoredStructure
from idealflow.storage import ArtifactStore

__all__ = [
    "carried",
    "labelled_atoms",
    "load_frame",
    "save_frame",
    "to_atoms",
    "to_stored",
    "with_core_forces",
]


def to_atoms(structure: StoredStructure) -> Atoms:
    """Make ase Atoms of a stored structure, exact to the last bit.

    Examples
    --------
    >>> cell = {"cell": [[4, 0, 0], [0, 4, 0], [0, 0, 4]], "pbc": [True, True, True]}
    >>> to_atoms(StoredStructure(numbers=[29], positions=[[0, 0, 0]], moments=[1.5], **cell)).get_initial_magnetic_moments()
    array([1.5])
    """
    return from_arrays(dict(structure))


def carried(atoms: Atoms) -> Atoms:
    """Copy what documents and files keep of a structure (:func:`to_stored`), without making a document of it.

    Examples
    --------
    >>> from ase.build import bulk
    >>> atoms = bulk("Cu")
    >>> atoms.set_tags([3])
    >>> sorted(carried(atoms).arrays)
    ['numbers', 'positions']
    """
    return from_arrays(to_arrays(atoms))


def to_stored(atoms: Atoms) -> StoredStructure:
    """Write ase Atoms as a document.

    Kept are species, positions, cell, periodicity, and the masses, fixed atoms, moments, charge and spin that
    :mod:`idealflow.core.structure` tells of; nothing else, so neither results nor other ``info`` and ``arrays``.

    Examples
    --------
    >>> from ase.build import bulk
    >>> atoms = bulk("Cu", cubic=True)
    >>> atoms.info["charge"], atoms.info["source"] = 1.0, "a paper"
    >>> stored = to_stored(atoms)
    >>> stored.charge, to_atoms(stored).info
    (1.0, {'charge': 1.0})
    """
    return StoredStructure.model_validate({name: array.tolist() for name, array in to_arrays(atoms).items()})


def labelled_atoms(doc: LabelledDoc) -> Atoms:
    """Make the Atoms of an accepted label, with energy (eV), forces (eV/Å) and, where there is one, stress (eV/Å³) as results.

    Raises
    ------
    InputError
        If the label failed.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> doc = sample_campaign().labels(origin="bootstrap")[0]
    >>> atoms = labelled_atoms(doc)
    >>> atoms.get_forces().shape, atoms.info["request_key"]
    ((32, 3), 'tiny/bootstrap/000000')
    """
    if doc.state != "accepted" or doc.structure is None or doc.energy is None or doc.forces is None:
        raise InputError(f"only accepted labels can be learned, {doc.request_key} is {doc.state}: {doc.cause}")
    atoms = of_the_label(to_atoms(doc.structure))
    set_label(atoms, doc.energy, doc.forces, doc.stress)
    atoms.info["request_key"] = doc.request_key
    return atoms


def with_core_forces(atoms: Atoms, core: Sequence[int]) -> Atoms:
    """A labelled structure's forces count in training on its core alone: returns it, with an array ``force_weight`` of 0 and 1.

    Examples
    --------
    >>> from ase import Atoms
    >>> with_core_forces(Atoms("CO"), [1]).arrays["force_weight"].tolist()
    [0.0, 1.0]
    """
    weight = np.zeros(len(atoms))
    weight[list(core)] = 1.0
    atoms.set_array("force_weight", weight)
    return atoms


def save_frame(store: ArtifactStore, atoms: Atoms) -> Artifact:
    """Store a frame, with all that :func:`to_stored` keeps, as an npz artifact.

    Examples
    --------
    >>> from ase.build import bulk
    >>> store = ArtifactStore("artifacts")
    >>> artifact = save_frame(store, bulk("Cu", cubic=True) * 10)
    >>> len(load_frame(store, artifact))
    4000
    """
    buffer = io.BytesIO()
    np.savez(buffer, **to_arrays(atoms))  # type: ignore[arg-type]  # numpy types its keywords as flags
    return store.put_bytes(buffer.getvalue(), suffix=".npz")


def load_frame(store: ArtifactStore, artifact: Artifact) -> Atoms:
    """Read the frame of an npz artifact that :func:`save_frame` wrote, or of an MD state.

    Raises
    ------
    ArtifactError
        If the file is damaged or holds no frame.

    Examples
    --------
    The last MD state of the sample campaign:

    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> load_frame(campaign.artifacts, campaign.state().walkers[0].md_state).get_chemical_formula()
    'Cu107'
    """
    path = store.get(artifact)
    with np.load(path, allow_pickle=False) as data:
        missing = {"numbers", "positions", "cell", "pbc"} - set(data.files)
        if missing:
            raise ArtifactError(f"{path} holds no frame: {sorted(missing)} missing; expected an MD state or frame file")
        names = [name for name in data.files if not name.startswith(("sampler.", "__"))]
        return from_arrays(frame_arrays({name: data[name] for name in names}))
