"""The uncertainties that a campaign can screen with: made at the bootstrap, taught with every update, read from files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms

from idealflow.core import UncertaintyModel
from idealflow.core.archive import archive_kind
from idealflow.errors import InputError
from idealflow.forcefields import AtomicForceField, CommitteeUncertainty, ForceField
from idealflow.settings import Settings

__all__ = ["Uncertainty", "UncertaintyKind", "check_kind", "learn", "load_uncertainty", "with_committee"]

Uncertainty = UncertaintyModel | CommitteeUncertainty

UncertaintyKind = Literal["soap", "committee"]


def check_kind(kind: UncertaintyKind, force_field: ForceField) -> None:
    """Refuse a committee of force fields that do not tell the energies of atoms.

    Raises
    ------
    InputError
        Naming the method that is missing.
    """
    if kind == "committee" and not isinstance(force_field, AtomicForceField):
        raise InputError(
            f"bootstrap.uncertainty: committee needs a force field with atomic_energies(), {force_field.name!r} has none; "
            "use uncertainty: soap, or add the method (idealflow.forcefields.AtomicForceField)"
        )


def with_committee(
    base: UncertaintyModel,
    force_field: ForceField,
    untrained: ForceField,
    frames: Sequence[Atoms],
    *,
    size: int,
    steps: int | None,
    seed: int,
) -> CommitteeUncertainty:
    """A committee led by the force field that drives, the other members copies of ``untrained`` fitted to ``frames``."""
    return CommitteeUncertainty.fit(frames, base, untrained, members=size, leader=force_field, steps=steps, seed=seed)


def learn(
    uncertainty: Uncertainty,
    structures: Sequence[Atoms],
    masks: Sequence[np.ndarray] | None,
    force_field: ForceField,
    *,
    steps: int,
    learning_rate: float,
    n_replay: int,
) -> None:
    """Let labelled structures join the distribution.

    Members of a committee learn them too, by the settings of the force field's own update; ``force_field``, which has
    learned them already, leads, so that the committee judges the model version it is stored with.
    """
    if isinstance(uncertainty, CommitteeUncertainty):
        uncertainty.update(
            structures, masks, steps=steps, learning_rate=learning_rate, n_replay=n_replay, leader=force_field
        )
    else:
        uncertainty.update(structures, masks=masks)


def load_uncertainty(path: str | Path) -> Uncertainty:
    """Whichever uncertainty a file holds; SOAP's on the site's device.

    Raises
    ------
    ArtifactError
        If the file is missing, cut short, damaged or foreign.
    InputError
        If the site's device is not there.
    """
    if archive_kind(path) == CommitteeUncertainty.kind:
        return CommitteeUncertainty.load(path)
    return UncertaintyModel.load(path, device=Settings().uncertainty_device)
