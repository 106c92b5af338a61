"""Campaigns that begin with one another: seen as one run, with their tables joined."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import yaml

from idealflow.errors import InputError
from idealflow.provenance.campaign import Campaign

if TYPE_CHECKING:  # both take seconds to import, and the methods that need them import them
    import pandas as pd

    from idealflow.forcefields import ForceField

__all__ = ["CampaignChain"]


class CampaignChain(Sequence[Campaign]):
    """A chain of campaigns, each of which began with all that the one before had learned (``bootstrap: {campaign: ...}``).

    Parameters
    ----------
    campaigns
        The campaigns, the first one first.

    Raises
    ------
    InputError
        If there are none, or two have one name.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> chain = CampaignChain([sample_campaign()])
    >>> chain.ancestry()[["campaign", "begins_with", "n_own_labels"]].values.tolist()
    [['tiny', '', 13]]
    >>> chain.table()[["campaign", "step", "chain_time_fs"]].values.tolist()[-1]
    ['tiny', 60, 120.0]
    """

    def __init__(self, campaigns: Sequence[Campaign]) -> None:
        self._campaigns = list(campaigns)
        names = [campaign.name for campaign in campaigns]
        if not names:
            raise InputError("a chain needs at least one campaign, got none")
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"campaigns of a chain must have names of their own, but two are called {twice!r}")

    @classmethod
    def open(cls, folder: str | Path) -> CampaignChain:
        """Open the chain that ends with the campaign in a folder, read-only.

        Each folder's kept config names the one before it. Where that folder has been moved, one of its name beside the later
        campaign's is taken.

        Parameters
        ----------
        folder
            The ``--out`` folder of the last campaign.

        Raises
        ------
        InputError
            If there is no campaign in a folder, or a campaign began with itself.

        Examples
        --------
        >>> from idealflow.provenance import sample_campaign
        >>> [campaign.name for campaign in CampaignChain.open(sample_campaign().folder.path)]
        ['tiny']
        """
        found: list[Campaign] = []
        seen: set[Path] = set()
        place: Path | None = Path(folder).resolve()
        while place is not None:
            if place in seen:
                raise InputError(f"the campaign in {place} begins with itself; mend bootstrap.campaign in its config")
            seen.add(place)
            campaign = Campaign.open(place)
            if campaign.folder is None:
                raise InputError(f"{place} holds no campaign; give the --out folder of `idealflow run`")
            found.append(campaign)
            place = _before(campaign.folder.readable_config, place)
        return cls(found[::-1])

    def __len__(self) -> int:
        return len(self._campaigns)

    @overload
    def __getitem__(self, index: int) -> Campaign: ...
    @overload
    def __getitem__(self, index: slice) -> list[Campaign]: ...
    def __getitem__(self, index: int | slice) -> Campaign | list[Campaign]:
        return self._campaigns[index]

    def __iter__(self) -> Iterator[Campaign]:
        return iter(self._campaigns)

    def first_model(self) -> ForceField:
        """Load the force field with which the chain began."""
        return self._campaigns[0].model(0)

    def last_model(self) -> ForceField:
        """Load the last force field of the last campaign."""
        return self._campaigns[-1].model()

    def ancestry(self) -> pd.DataFrame:
        """Tell what each campaign began with and what it added.

        Returns
        -------
        DataFrame
            A row for each campaign, the first one first: ``campaign``; ``begins_with``, the one before it, empty for the first;
            ``n_atoms``; ``n_steps`` of MD and their ``time_fs``, summed over its walkers; ``chain_time_fs``, where it begins on
            the time axis of the chain; ``n_carried_labels``, with which it began, and ``n_own_labels``, its first model's
            included; ``n_labelled_frames``; ``n_versions`` of the model that it made; ``label_core_s``, what its
            labels cost, those of whole frames that evaluate the model included.
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        start, before = 0.0, ""
        for campaign in self._campaigns:
            state, bootstrap = campaign.state(), campaign.bootstrap()
            accepted = campaign.labels(origin="bootstrap", state="accepted")
            carried = 0 if bootstrap is None or bootstrap.source != "campaign" else bootstrap.n_structures
            lasts = _last_times(campaign)
            rows.append(
                {
                    "campaign": campaign.name,
                    "begins_with": before,
                    "n_atoms": 0 if state is None else state.n_atoms,
                    "n_steps": 0 if state is None else sum(walker.step for walker in state.walkers),
                    "time_fs": sum(lasts),
                    "chain_time_fs": start,
                    "n_carried_labels": carried,
                    "n_own_labels": len(accepted) + (0 if state is None else state.n_substructures),
                    "n_labelled_frames": 0 if state is None else state.n_labelled_frames,
                    "n_versions": 0 if state is None or state.learner is None else state.learner.version + 1,
                    "label_core_s": campaign.label_core_seconds(),
                }
            )
            start, before = start + max(lasts, default=0.0), campaign.name
        return pd.DataFrame(rows)

    def table(self) -> pd.DataFrame:
        """Return the campaigns' tables of substructures as one.

        Returns
        -------
        DataFrame
            As :meth:`Campaign.table <idealflow.Campaign.table>` gives it, with ``campaign`` in front, and ``chain_time_fs``, the
            time of the labelled frame on the chain's axis.
        """
        import pandas as pd

        parts = []
        for campaign, start in zip(self._campaigns, self._starts(), strict=True):
            part = campaign.table()
            times = start + part["step"].astype(float) * _time_step(campaign)
            part.insert(0, "campaign", campaign.name)
            part.insert(1, "chain_time_fs", times)
            parts.append(part)
        filled = [part for part in parts if len(part)]
        return pd.concat(filled, ignore_index=True) if filled else parts[0]

    def log(self) -> pd.DataFrame:
        """Return the logs of the dynamics as one table, with ``campaign`` and ``chain_time_fs`` in front."""
        import pandas as pd

        parts = []
        for campaign, start in zip(self._campaigns, self._starts(), strict=True):
            part = campaign.log()
            if not len(part):
                continue
            part.insert(0, "campaign", campaign.name)
            part.insert(1, "chain_time_fs", start + part["time_fs"])
            parts.append(part)
        return pd.concat(parts, ignore_index=True) if parts else self._campaigns[0].log()

    def _starts(self) -> list[float]:
        """Where each campaign begins on the time axis of the chain, fs."""
        starts = [0.0]
        for campaign in self._campaigns[:-1]:
            starts.append(starts[-1] + max(_last_times(campaign), default=0.0))
        return starts


def _before(config: Path, folder: Path) -> Path | None:
    """Folder of the campaign that the one with this config began with; None if it made its first model itself."""
    settings = yaml.safe_load(config.read_text())
    named: str | None = (settings.get("bootstrap") or {}).get("campaign")
    if named is None:
        return None
    given = config.parent.joinpath(named).resolve()
    beside = folder.parent / given.name
    return given if given.is_dir() or not beside.is_dir() else beside


def _last_times(campaign: Campaign) -> list[float]:
    """Time that each walker has reached, fs."""
    reached: dict[int, float] = {}
    step = _time_step(campaign)
    state = campaign.state()
    for walker in [] if state is None else state.walkers:
        reached[walker.walker] = walker.step * step
    return list(reached.values())


def _time_step(campaign: Campaign) -> float:
    """Time of a step, fs, from the log; 0 before the first step, and where steps have no time (Monte Carlo)."""
    for output in campaign.outputs("segment", ["log.step", "log.time_fs"]):
        for step, time in zip(output["log"]["step"], output["log"]["time_fs"], strict=True):
            if step > 0:
                return float(time / step) if math.isfinite(time) else 0.0
    return 0.0
