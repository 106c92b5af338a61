"""The labelled dataset of a campaign, prepared for other programs: what each structure is for, and in which part it belongs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from ase import Atoms

from idealflow.errors import InputError
from idealflow.provenance import Campaign

__all__ = ["ISOLATED_ATOM", "Part", "exported_dataset", "virial"]

Part = Literal["all", "train", "held_out"]

#: what MACE and its kin call the structure that gives them the energy of a free atom
ISOLATED_ATOM = "IsolatedAtom"

_FREE = 10.0  # Å between periodic images from which a lone atom counts as free


def exported_dataset(campaign: Campaign, part: Part = "all") -> list[Atoms]:
    """Return the labels that training uses, as :meth:`idealflow.provenance.Campaign.dataset` does, with keys that others read.

    In ``info``, ``label_origin`` takes the place of ``origin``, which OVITO takes for the cell's; ``config_type`` is the same, or
    ``IsolatedAtom``; ``split`` is ``held_out`` for structures that the campaign's own training never sees, else ``train``.

    Parameters
    ----------
    campaign
        The campaign.
    part
        Only structures of this ``split``; ``all`` for both.

    Raises
    ------
    InputError
        If there are no such structures.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> frames = exported_dataset(sample_campaign())
    >>> len(frames), frames[-1].info["config_type"], frames[-1].info["split"]
    (13, 'substructure', 'train')
    >>> len(exported_dataset(sample_campaign(), part="held_out"))
    1
    """
    frames = campaign.dataset()
    if not frames:
        raise InputError(
            f"campaign {campaign.name} has no labels that training uses; let it run through its bootstrap, or further "
            "where label.other_method: leave_out left all out"
        )
    held = _held_out(campaign)
    for atoms in frames:
        origin = atoms.info.pop("origin")
        atoms.info["config_type"] = ISOLATED_ATOM if _is_free(atoms) else origin
        atoms.info["label_origin"] = origin
        atoms.info["split"] = "held_out" if atoms.info["request_key"] in held else "train"
    chosen = [atoms for atoms in frames if part in ("all", atoms.info["split"])]
    if not chosen:
        raise InputError(
            f"campaign {campaign.name} has no labelled structures in the part {part!r}; export all of them"
        )
    return chosen


def virial(atoms: Atoms, stress: Sequence[float] | np.ndarray) -> np.ndarray:
    """Return the virial (3, 3), eV, as GPUMD and DeePMD-kit have it: −stress × volume, of a stress (6,) in eV/Å³ with ASE's sign.

    Examples
    --------
    >>> virial(Atoms("Cu", cell=[2, 2, 2], pbc=True), [0.5, 0, 0, 0, 0, 0.25])[0].round(6).tolist()
    [-4.0, -2.0, -0.0]
    """
    xx, yy, zz, yz, xz, xy = stress
    return -abs(float(np.linalg.det(atoms.cell.array))) * np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def _held_out(campaign: Campaign) -> set[str]:
    """Keys of the structures that the campaign keeps out of training, from its ledger."""
    state = campaign.state()
    if state is None or state.learner is None:
        return set()
    ledger: dict[str, Any] = json.loads(campaign.fetch(state.learner.ledger).read_text())
    return {key for key, held in zip(ledger["keys"], ledger["held_out"], strict=True) if held}


def _is_free(atoms: Atoms) -> bool:
    """Whether it is one atom without neighbours."""
    return len(atoms) == 1 and bool((atoms.cell.lengths()[atoms.pbc] >= _FREE).all())
