"""What a label costs by size, from labels that were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from idealflow.provenance import Campaign, CampaignFolder

__all__ = ["LabelCosts", "duration", "measured_labels"]

_FEWEST = 4  # labels from which an exponent is believed
_FARTHEST = 30  # times the largest measured size to which one size alone is extrapolated
_LEAST_RANGE = 1.5  # and the ratio of the largest to the smallest that they span at least


@dataclass(frozen=True)
class LabelCosts:
    """Wall times of labels by their numbers of atoms.

    Attributes
    ----------
    n_atoms, seconds
        Of each label.

    Examples
    --------
    >>> costs = LabelCosts([10, 20, 40, 80], [1.0, 4.0, 16.0, 64.0])
    >>> round(costs.exponent, 3), [round(value) for value in costs.at(160)]
    (2.0, [256, 256])
    >>> [round(value) for value in LabelCosts([8], [2.0]).at(80)]  # one size alone: between linear and cubic
    [20, 2000]
    >>> LabelCosts([1], [2.0]).at(80) is None  # too far away
    True
    """

    n_atoms: Sequence[int]
    seconds: Sequence[float]

    @property
    def exponent(self) -> float | None:
        """Power of the number of atoms with which the time grows; None where too few sizes were measured."""
        sizes = np.asarray(self.n_atoms, dtype=float)
        if len(sizes) < _FEWEST or sizes.max() < _LEAST_RANGE * sizes.min():
            return None
        return float(np.polyfit(np.log(sizes), np.log(np.maximum(self.seconds, 1e-6)), 1)[0])

    def at(self, n_atoms: float) -> tuple[float, float] | None:
        """Lowest and highest time to expect for a label of ``n_atoms``, s; None where the measured ones tell too little."""
        if self.exponent is None and n_atoms > _FARTHEST * max(self.n_atoms):
            return None
        sizes, seconds = np.log(self.n_atoms), np.log(np.maximum(self.seconds, 1e-6))
        ratio = np.log(n_atoms) - sizes.mean()
        powers = (1.0, 3.0) if self.exponent is None else (self.exponent,)
        ends = [float(np.exp(seconds.mean() + power * ratio)) for power in powers]
        return min(ends), max(ends)


def measured_labels(folder: Path | None, store: Any, campaign: str, labeller_key: str) -> LabelCosts | None:
    """Labels of the same labeller that a campaign has stored; None if there are none.

    Parameters
    ----------
    folder
        Folder of a campaign, which is not written to; one that holds none has none.
    store
        A job store in which ``campaign`` may be, where no folder is given; None: nowhere.
    campaign
        Its name.
    labeller_key
        Hash of the label settings.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> sample = sample_campaign()
    >>> key = sample.labels()[0].labeller_key
    >>> len(measured_labels(sample.folder.path, None, "tiny", key).n_atoms)
    16
    >>> measured_labels(sample.folder.path, None, "tiny", "another") is None
    True
    """
    if folder is not None:
        if not CampaignFolder(folder).exists():
            return None
        found = Campaign.open(folder)
        store, campaign = found.store, found.name
    if store is None:
        return None
    query = {
        "output.campaign": campaign,
        "output.kind": {"$in": ["label", "substructure"]},
        "output.state": "accepted",
        "output.labeller_key": labeller_key,
    }
    names = ["output.n_atoms", "output.seconds", "output.reused_from"]
    rows = [entry["output"] for entry in store.query(query, properties=names)]
    own = [row for row in rows if not row.get("reused_from")]
    return LabelCosts([row["n_atoms"] for row in own], [row["seconds"] for row in own]) if own else None


def duration(seconds: float) -> str:
    """Write a time in the unit that suits it.

    Examples
    --------
    >>> duration(0.0123), duration(90), duration(5400), duration(300000)
    ('0.012 s', '90 s', '1.5 h', '3.5 d')
    """
    for unit, length, until in (("s", 1.0, 120.0), ("min", 60.0, 7200.0 / 2), ("h", 3600.0, 172800.0)):
        if seconds < until:
            return f"{seconds / length:.2g} {unit}"
    return f"{seconds / 86400.0:.2g} d"
