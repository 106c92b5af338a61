"""Campaigns to watch: those of one folder or of one store, read by threads that each have a connection of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from idealflow.provenance import Campaign
from idealflow.report.sections.blocks import numbers
from idealflow.report.sections.collect import SECTIONS
from idealflow.report.sections.gallery import columns, gallery_rows, learned_errors
from idealflow.report.sections.head import head
from idealflow.report.sections.lineage import Lineages
from idealflow.report.sections.remembered import Remembered
from idealflow.report.summary import summarise

__all__ = ["SLOW", "Stamp", "Watched"]

#: sections for which trajectories, models' errors or descriptors are read or computed: they have a thread of their own
SLOW = frozenset(("dynamics", "accuracy", "environments"))
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Stamp:
    """Where a campaign stands: as long as it does not change, nothing has to be read again.

    Examples
    --------
    >>> Stamp("cu-melt", 3, "running").as_json()
    {'name': 'cu-melt', 'round': 3, 'status': 'running'}
    """

    name: str
    round: int
    status: str

    def as_json(self) -> dict[str, Any]:
        """The stamp as the page reads it."""
        return {"name": self.name, "round": self.round, "status": self.status}


class Watched:
    """Reads what the live page asks for; nothing is ever written.

    Three threads read: one looks for new rounds, one makes what is quick, one what takes seconds, so that none waits for another.
    What was made for a round is kept until the next.

    Parameters
    ----------
    names
        Function that lists the campaigns there are.
    opened
        Function that opens one of them, for the thread that calls it.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> folder = sample_campaign().folder.path
    >>> watched = Watched.folder(folder)
    >>> asyncio.run(watched.stamps())
    [Stamp(name='tiny', round=8, status='finished')]
    >>> asyncio.run(watched.section("tiny", "learning"))["title"]
    'Learning'
    >>> watched.close()
    """

    def __init__(self, names: Callable[[], list[str]], opened: Callable[[str], Campaign]) -> None:
        self.names = names
        self._rooms = {name: _Room(opened) for name in ("stamps", "quick", "slow")}

    @classmethod
    def folder(cls, path: Path) -> Watched:
        """Watch the campaign of a folder, which is opened read-only."""
        name = Campaign.open(path).name
        return cls(lambda: [name], lambda _: Campaign.open(path))

    @classmethod
    def store(cls, store: Any, only: str | None = None) -> Watched:
        """Watch the campaigns of a jobflow JobStore: all of them, or the one of a name."""
        store.connect()

        def names() -> list[str]:
            found = store.docs_store.distinct("output.campaign", {"output.kind": {"$in": ["label", "state"]}})
            return sorted(str(name) for name in found if only in (None, name))

        return cls(names, lambda name: Campaign(store, name))

    async def stamps(self) -> list[Stamp]:
        """Where each campaign stands."""
        return await self._rooms["stamps"].run(lambda room: [room.stamp(name) for name in self.names()])

    async def head(self, name: str) -> dict[str, Any]:
        """The head of a campaign's page, and its status."""
        return await self._rooms["quick"].run(lambda room: room.made(name, "head", _head))

    async def section(self, name: str, key: str) -> dict[str, Any]:
        """One section of a campaign's report; KeyError for a name that is none."""
        make = SECTIONS[key]

        def made(campaign: Remembered) -> dict[str, Any]:
            return make(campaign, summarise(campaign)).as_json()

        return await self._rooms["slow" if key in SLOW else "quick"].run(lambda room: room.made(name, key, made))

    async def gallery(self, name: str) -> dict[str, Any]:
        """Figures of every substructure of a campaign, as packed columns."""

        def made(campaign: Remembered) -> dict[str, Any]:
            return columns(gallery_rows(campaign), learned_errors(campaign))

        return await self._rooms["quick"].run(lambda room: room.made(name, "gallery", made))

    async def substructure(self, name: str, uuid: str) -> dict[str, Any]:
        """Coordinates and lineage of one substructure; LookupError where there is none of that job."""

        def told(room: _Room) -> dict[str, Any]:
            campaign = room.campaign(name)
            detail = room.lineages(name).of(uuid)
            return {"detail": detail, "structure": _structure(campaign, uuid)}

        return await self._rooms["quick"].run(told)

    def close(self) -> None:
        """End the threads."""
        for room in self._rooms.values():
            room.close()


class _Room:
    """One thread, with connections and memory of its own."""

    def __init__(self, opened: Callable[[str], Campaign]) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._opened = opened
        self._campaigns: dict[str, Campaign] = {}
        self._moments: dict[str, tuple[Stamp, Remembered]] = {}
        self._made: dict[tuple[str, str], tuple[Stamp, dict[str, Any]]] = {}
        self._told: dict[str, tuple[Stamp, Lineages]] = {}

    async def run(self, work: Callable[[_Room], Answer]) -> Answer:
        """Do something in the room's thread."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, self)

    def campaign(self, name: str) -> Campaign:
        """The campaign, opened by this thread."""
        if name not in self._campaigns:
            self._campaigns[name] = self._opened(name)
        return self._campaigns[name]

    def stamp(self, name: str) -> Stamp:
        """Where the campaign stands now; round -1 before its first state is stored."""
        campaign = self.campaign(name)
        query = {"output.kind": "state", "output.campaign": name}
        fields = ["output.round", "output.status"]
        found = campaign.store.query_one(query, properties=fields, sort={"output.round": -1})
        state: dict[str, Any] = {"round": -1, "status": "running"} if found is None else found["output"]
        if campaign.folder is not None:
            state = campaign.folder.with_pause(state)
        return Stamp(name, state["round"], state["status"])

    def made(self, name: str, key: str, make: Callable[[Remembered], dict[str, Any]]) -> dict[str, Any]:
        """What was made for the present round, or make it."""
        stamp = self.stamp(name)
        known = self._made.get((name, key))
        if known is None or known[0] != stamp:
            self._made[name, key] = known = stamp, make(self._moment(name, stamp))
        return known[1]

    def lineages(self, name: str) -> Lineages:
        """What tells substructures of the present round."""
        stamp = self.stamp(name)
        known = self._told.get(name)
        if known is None or known[0] != stamp:
            campaign = self.campaign(name)
            self._told[name] = known = stamp, Lineages(campaign, learned_errors(campaign))
        return known[1]

    def _moment(self, name: str, stamp: Stamp) -> Remembered:
        known = self._moments.get(name)
        if known is None or known[0] != stamp:
            self._moments[name] = known = stamp, Remembered(self.campaign(name))
        return known[1]

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)


def _head(campaign: Remembered) -> dict[str, Any]:
    summary = summarise(campaign)
    if campaign.folder is not None:
        summary = campaign.folder.with_pause(summary)
    return {"head": head(summary).as_json(), "status": summary["status"]}


def _structure(campaign: Campaign, uuid: str) -> dict[str, Any] | None:
    """Coordinates of one substructure, Å from its centre, as the page reads them."""
    (output,) = campaign.outputs("substructure", ("structure", "core", "centre"), uuid=uuid)
    structure, centre = output["structure"], output["centre"]
    if structure is None:
        return None
    positions = np.asarray(structure["positions"], dtype=np.float64)
    roles = np.zeros(len(positions), dtype=int)
    roles[output["core"]] = 1
    if centre is not None:
        roles[centre] = 2
    return {
        "numbers": structure["numbers"],
        "positions": numbers((positions - (positions.mean(axis=0) if centre is None else positions[centre])).ravel()),
        "roles": roles.tolist(),
        "cell": np.ravel(structure["cell"]).tolist(),
        "periodic": sum(1 << axis for axis in range(3) if structure["pbc"][axis]),
    }
