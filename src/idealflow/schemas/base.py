"""What every document is made of: the base class, where it belongs, files, arrangements of atoms."""

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
    """Base of every stored document: unknown keys are refused, MSON's class marks are dropped."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _drop_mson_keys(cls, data: object) -> object:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if key not in _MSON_KEYS}
        return data

    def shared_with(self, base: type[Document]) -> dict[str, Any]:
        """Values of the fields that it has from ``base``, for another document that has them too."""
        return {name: getattr(self, name) for name in base.model_fields}


class InRound(Document):
    """What was made in one round of one campaign, by which it is found."""

    campaign: str = Field(description="name of the campaign")
    round: int = Field(description="round in which it was made")


class StageOutput(InRound):
    """What a stage of a round leaves."""

    seconds: float = Field(description="wall time of the stage, s")


class OfWalker(Document):
    """What belongs to one walker."""

    walker: int = Field(description="number of the walker, from 0")


class Artifact(Document):
    """A file written once and named by its content."""

    path: str = Field(min_length=1, description="path relative to the root of the artifact store")
    sha256: str = Field(description="SHA-256 of the content, hexadecimal")
    size: int = Field(description="size in bytes", ge=0)


class Arrangement(Document):
    """Atoms in a cell, exact to the last bit through JSON.

    What a structure does not carry is None, and is left out where it is written: documents of plain structures are those of
    earlier versions.
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
    """A periodic (or partly periodic) arrangement of atoms."""

    pbc: list[bool] = Field(description="periodic along each cell vector, (3,)")


class StoredFrame(Document):
    """An arrangement of atoms that is kept as a file, so that no document grows with it."""

    root: str = Field(description="root URL of the artifact store that has it")
    file: Artifact = Field(
        description="species, positions, cell, periodicity and what it carries, exact to the last bit"
    )
