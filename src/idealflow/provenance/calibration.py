"""The uncertainty of each labelled centre beside the force error the model made there before it learned it."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms

if TYPE_CHECKING:
    from idealflow.provenance.campaign import Campaign

__all__ = ["CALIBRATION_COLUMNS", "calibration_rows", "centre_force_error"]

_CENTRE = ("request_key", "round", "walker", "step", "atom", "species", "uncertainty", "model_version")

#: columns of :meth:`idealflow.provenance.Campaign.calibration`
CALIBRATION_COLUMNS = (*_CENTRE, "threshold", "ratio", "force_error")


def centre_force_error(calculator: Any, labelled: Atoms, centre: int) -> float:
    """Compute how far a calculator's force on one atom is from the label's: the length of their difference, eV/Å.

    Parameters
    ----------
    calculator
        ASE calculator of the model.
    labelled
        Structure whose own calculator holds the forces of the reference, (n, 3), eV/Å.
    centre
        Index of the atom.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.core.structure import set_label
    >>> labelled = set_label(bulk("Cu"), energy=0.0, forces=[[0.0, 0.3, 0.4]])
    >>> round(centre_force_error(EMT(), labelled, centre=0), 6)
    0.5
    """
    copy = labelled.copy()
    copy.calc = calculator
    return float(np.linalg.norm(copy.get_forces()[centre] - labelled.calc.results["forces"][centre]))


def calibration_rows(campaign: Campaign, *, recompute: bool) -> list[dict[str, Any]]:
    """Return a row for each accepted label's centre, as :meth:`idealflow.provenance.Campaign.calibration` describes them.

    Parameters
    ----------
    campaign
        The campaign.
    recompute
        Whether to compute errors that are not stored (by campaigns of earlier versions, and in a round that is under way) with
        the stored model that asked for the label; False leaves these centres out.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = sample_campaign()
    >>> row = calibration_rows(campaign, recompute=False)[0]
    >>> round(row["ratio"], 2), round(row["force_error"], 3)
    (1.28, 0.096)
    """
    thresholds = {
        (screen["round"], screen["walker"], screen["step"]): screen["threshold"]
        for screen in campaign.outputs("screen", ("round", "walker", "step", "threshold"))
    }
    errors: dict[str, float] = {}
    for update in campaign.outputs("update", ("accepted", "centre_force_errors")):
        if stored := update.get("centre_force_errors"):
            errors |= dict(zip(update["accepted"], stored, strict=True))
    rows = campaign.outputs("substructure", _CENTRE, state="accepted")
    missing = [row for row in rows if row["request_key"] not in errors]
    if missing and recompute:
        errors |= _recomputed(campaign, {row["request_key"] for row in missing})
    for row in rows:
        row["threshold"] = thresholds[row["round"], row["walker"], row["step"]]
        row["ratio"] = row["uncertainty"] / row["threshold"]
        row["force_error"] = errors.get(row["request_key"])
    kept = [row for row in rows if row["force_error"] is not None]
    return sorted(kept, key=lambda row: str(row["request_key"]))


def _recomputed(campaign: Campaign, keys: set[str]) -> dict[str, float]:
    """Compute the errors anew with the models that asked for the labels; by request key."""
    from idealflow.forcefields import load_force_field

    asked = defaultdict(list)
    for doc in campaign.substructures(state="accepted"):
        if doc.request_key in keys:
            asked[doc.model_version].append(doc)
    learners, errors = campaign.learners(), {}
    for version, docs in sorted(asked.items()):
        calculator = load_force_field(campaign.fetch(learners[version].force_field)).calculator()
        for doc in docs:
            errors[doc.request_key] = centre_force_error(calculator, campaign.labelled(doc), doc.centre_of_cell)
    return errors
