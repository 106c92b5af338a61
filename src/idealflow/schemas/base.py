"""Parts of all documents: the base class, the campaign and round they belong to, files, atoms in a cell."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

__all__ = [
    "Artifact",
    "StoredFrame",
    "StoredStructure",
]

_MSON_KEYS = ("@module", "@class", "@version")


class Document(BaseModel):
    """Base of every stored document: unknown keys are refused; MSON's ``@module``, ``@class`` and ``@version`` are ignored."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _drop_mson_keys(cls, data: object) -> object:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if key not in _MSON_KEYS}
        return data

    def shared_with(self, base: type[Document]) -> dict[str, Any]:
        """Return the values of the fields defined in ``base``, to be passed on to another document derived from ``base``."""
        return {name: getattr(self, name) for name in base.model_fields}


class InRound(Document):
    """Base of documents that belong to one round of one campaign, by which they are found."""

    campaign: str = Field(description="name of the campaign")
    round: int = Field(description="round in which it was made")


class StageOutput(InRound):
    """Base of the documents that the stages store."""

    seconds: float = Field(description="wall time of the stage, s")


class OfWalker(Document):
    """Base of documents that belong to one walker."""

    walker: int = Field(description="number of the walker, from 0")


class Artifact(Document):
    """A file of the campaign, written once and named by the hash of its content.

    :class:`~idealflow.storage.ArtifactStore` writes and fetches it, and checks the hash when it does.

    Examples
    --------
    >>> from idealflow.storage import ArtifactStore
    >>> store = ArtifactStore("artifacts")
    >>> file = store.put_bytes(b"large", suffix=".npz")
    >>> file.size, file.path.endswith(f"{file.sha256}.npz")
    (5, True)
    >>> store.put_bytes(b"large", suffix=".npz") == file  # the same content is the same file
    True
    """

    path: str = Field(min_length=1, description="path relative to the root of the artifact store")
    sha256: str = Field(description="SHA-256 of the content, hexadecimal")
    size: int = Field(description="size in bytes", ge=0)


class Arrangement(Document):
    """Atoms in a cell; numbers come back from JSON exact to the last bit.

    Masses, fixed atoms, moments, charge and spin are optional. Those that are None are not written, so that the document of a
    plain structure looks as in earlier versions.
    """

    numbers: list[int] = Field(description="atomic numbers, (n_atoms,)")
    positions: list[list[float]] = Field(description="Cartesian positions, (n_atoms, 3), Å")
    cell: list[list[float]] = Field(description="cell vectors as rows, (3, 3), Å")
    masses: list[float] | None = Field(default=None, description="(n_atoms,), u; None: those of the natural elements")
    fixed: list[list[bool]] | None = Field(
        default=None, description="Cartesian directions in which atoms are fixed, (n_atoms, 3); None: all are free"
    )
    moments: list[float] | None = Field(
        default=None, description="initial magnetic moments, (n_atoms,), μB; None: the labeller's own choice"
    )
    charge: float | None = Field(default=None, description="total charge, e; None: neutral")
    spin: float | None = Field(default=None, description="spin multiplicity 2S + 1 of the whole; None: not given")

    @model_serializer(mode="wrap")
    def _without_what_is_not_carried(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        carried = ("masses", "fixed", "moments", "charge", "spin")
        return {name: value for name, value in write(self).items() if name not in carried or value is not None}


class StoredStructure(Arrangement):
    """A structure as documents hold it: species, positions, cell and periodicity, with what else it carries.

    :func:`~idealflow.workflow.frames.encode.to_stored` makes one of ase Atoms,
    :func:`~idealflow.workflow.frames.encode.to_atoms` turns it back. JSON changes no bit of it.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.workflow.frames.encode import to_atoms, to_stored
    >>> atoms = bulk("Cu", cubic=True)
    >>> atoms.rattle(0.1, seed=1)
    >>> stored = to_stored(atoms)
    >>> again = StoredStructure.model_validate_json(stored.model_dump_json())
    >>> bool((to_atoms(again).positions == atoms.positions).all())
    True
    >>> sorted(stored.model_dump())  # no masses, moments, ...: it carries none
    ['cell', 'numbers', 'pbc', 'positions']
    """

    pbc: list[bool] = Field(description="periodic along each cell vector, (3,)")


class StoredFrame(Document):
    """A structure that is kept as a file, so that the document does not grow with the number of atoms.

    :func:`~idealflow.workflow.frames.encode.save_frame` writes the file.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.storage import ArtifactStore
    >>> from idealflow.workflow.frames.encode import load_frame, save_frame
    >>> frame = bulk("Cu", cubic=True) * 10
    >>> stored = StoredFrame(root="artifacts", file=save_frame(ArtifactStore("artifacts"), frame))
    >>> len(load_frame(ArtifactStore(stored.root), stored.file))
    4000
    """

    root: str = Field(description="root URL of the artifact store that has it")
    file: Artifact = Field(
        description="species, positions, cell, periodicity and what it carries, exact to the last bit"
    )
