"""A campaign whose substructures are read once for all sections: with their coordinates they are most of a store."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from idealflow.provenance import Campaign

__all__ = ["Remembered"]

#: fields of a substructure that are small, and that sections ask for
_SMALL = frozenset(
    ("uuid", "request_key", "round", "walker", "step", "atom", "attempt", "species", "state", "cause", "uncertainty",
     "shell_uncertainty", "embedding", "n_atoms", "energy", "seconds", "reused_from", "model_version",
     "crop_uuid", "relaxation_uuid", "segment_uuid")
)  # fmt: skip


class Remembered(Campaign):
    """A campaign at one moment, which remembers the small fields of its substructures from the first time they are asked for.

    Parameters
    ----------
    campaign
        The campaign; store and folder are shared with it.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> campaign = Remembered(sample_campaign())
    >>> campaign.outputs("substructure", ["atom"], state="accepted", step=50)
    [{'atom': 31}, {'atom': 95}]
    """

    def __init__(self, campaign: Campaign) -> None:
        super().__init__(campaign.store, campaign.name, campaign.folder)
        self._small: list[dict[str, Any]] | None = None

    def outputs(self, kind: str, names: Iterable[str], **filters: Any) -> list[dict[str, Any]]:
        """Return some fields of all documents of a kind, as :meth:`idealflow.Campaign.outputs` does."""
        asked = tuple(names)
        plain = all(name in _SMALL and not isinstance(value, dict) for name, value in filters.items())
        if kind != "substructure" or "uuid" in filters or not plain or not _SMALL.issuperset(asked):
            return super().outputs(kind, asked, **filters)
        if self._small is None:
            self._small = super().outputs(kind, sorted(_SMALL))
        found = (row for row in self._small if all(row[name] == value for name, value in filters.items()))
        return [{name: row[name] for name in asked if name in row} for row in found]
