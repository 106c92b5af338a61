"""What the bootstrap begins from where weights exist already: their force field, structures that hold it, copies of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase.io
from ase import Atoms

from idealflow.errors import ArtifactError, InputError
from idealflow.forcefields import ForceField, Startable, pretrained_force_field, weights_file
from idealflow.forcefields.pretrained import check_species
from idealflow.schemas import Artifact
from idealflow.storage import ArtifactStore

__all__ = ["anchors_of", "begun_from", "stored_file"]


def begun_from(
    pretrained: str, file: Path | None, settings: Mapping[str, Any], species: Sequence[str], architecture: str | None
) -> ForceField:
    """Read pretrained weights, and check that a campaign can learn from them.

    Parameters
    ----------
    pretrained
        Their name or file, as the user gave it.
    file
        A local copy; None: what ``pretrained`` stands for.
    settings
        Settings of learning to change.
    species
        Chemical symbols that the campaign will meet.
    architecture
        Name of the force field that the user expects, or None.

    Raises
    ------
    InputError
        If the weights cannot be read, are another architecture's, know too few species, or are no start.

    Examples
    --------
    >>> from idealflow.forcefields import get_force_field
    >>> path = get_force_field("local", species=["Cu"]).save("copper.ff")
    >>> begun_from(str(path), None, {}, ["Cu"], None).name
    'local'
    >>> begun_from(str(path), None, {}, ["Cu", "O"], None)
    Traceback (most recent call last):
    idealflow.errors.InputError: the weights copper.ff do not know O; they know Cu; take others, or learn from scratch
    """
    try:
        made = pretrained_force_field(file or weights_file(pretrained), settings)
    except ArtifactError as error:
        raise InputError(f"bootstrap.pretrained: {error}") from error
    if architecture not in (None, made.name):
        raise InputError(
            f"the weights {pretrained} are those of a force field {made.name!r}, not {architecture!r}; leave "
            "bootstrap.force_field out"
        )
    if not isinstance(made, Startable):
        raise InputError(f"a force field {made.name!r} cannot begin from its weights: it has no start_here()")
    check_species(made, species, pretrained)
    return made


def anchors_of(path: Path) -> list[Atoms]:
    """Structures of a file, whatever format ASE knows it by.

    Raises
    ------
    InputError
        If it cannot be read.

    Examples
    --------
    >>> anchors_of(Path("absent.xyz"))
    Traceback (most recent call last):
    idealflow.errors.InputError: bootstrap.anchor: ASE reads no structures from absent.xyz (FileNotFoundError: ...)
    """
    try:
        found: list[Atoms] = ase.io.read(path, ":")
    except Exception as error:  # readers raise anything; the message says what
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"bootstrap.anchor: ASE reads no structures from {path} ({cause})") from error
    return found


def stored_file(store: ArtifactStore, path: Path) -> Artifact:
    """Copy a file into a store, under its own suffix.

    Examples
    --------
    >>> _ = Path("weights.ff").write_text("some")
    >>> stored_file(ArtifactStore("artifacts"), Path("weights.ff")).path[-3:]
    '.ff'
    """
    return store.put_file(path, suffix=path.suffix if path.suffix[1:].isalnum() else "")
