"""Structures of stored documents and frames of stored files, as ase Atoms."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms

from idealflow.errors import ArtifactError
from idealflow.provenance import Campaign
from idealflow.schemas import Artifact

__all__ = ["atoms_of", "load_frame"]


def atoms_of(structure: dict[str, Any]) -> Atoms:
    """Species, positions, cell and periodicity of a structure as it is stored.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> stored = sample_campaign().outputs("substructure", ["structure"])[0]["structure"]
    >>> atoms_of(stored).get_chemical_formula()
    'Cu78'
    """
    return Atoms(
        structure["numbers"], positions=structure["positions"], cell=structure["cell"], pbc=structure.get("pbc", True)
    )


def load_frame(campaign: Campaign, stored: dict[str, Any]) -> Atoms:
    """Read the frame of a stored MD state or frame file, of which the document ``stored`` tells.

    Raises
    ------
    ArtifactError
        If the file is missing or damaged, or holds no frame.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> load_frame(campaign, campaign.state().walkers[0].md_state.model_dump()).get_chemical_formula()
    'Cu107'
    """
    path = campaign.fetch(Artifact.model_validate(stored))
    with np.load(path, allow_pickle=False) as data:
        names = ("numbers", "positions", "cell", "pbc")
        if missing := sorted(set(names) - set(data.files)):
            raise ArtifactError(f"{path} holds no frame: {missing} missing; expected an MD state or frame file")
        return atoms_of({name: data[name] for name in names})
