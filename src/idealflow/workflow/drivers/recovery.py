"""Put a campaign's queue right after processes died, wherever in their dealings with it they died.

FireWorks finds jobs that stay RUNNING. A process that is killed while it *updates* the queue leaves less visible traces: a
job reserved and never launched; a workflow whose own table of states lags behind its jobs', so that what follows waits
for ever; jobs written down that no workflow holds. Outputs are committed under derived names, so running a job again is
always safe.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idealflow.errors import InputError
from idealflow.workflow.drivers.fireworks import opened_launchpad
from idealflow.workflow.drivers.fireworks_internals import refresh

__all__ = ["Recovered", "recover_campaign"]

#: workers report once an hour that they live (FireWorks' PING_TIME_SECS)
LOST_AFTER_S = 4 * 3600


@dataclass(frozen=True)
class Recovered:
    """What was put right, in numbers of fireworks.

    Attributes
    ----------
    lost
        RUNNING without a sign of life; to be run again.
    reserved
        Reserved and never launched; free again.
    stray
        In no workflow; removed.
    stale
        Whose workflow did not know their state; known again.
    fizzled
        To be run again.
    """

    lost: int
    reserved: int
    stray: int
    stale: int
    fizzled: int

    def __str__(self) -> str:
        return (
            f"{self.lost} lost and {self.fizzled} fizzled jobs will run again; {self.reserved} reservations freed, "
            f"{self.stray} strays removed, {self.stale} stale states mended"
        )


def recover_campaign(
    campaign: str, launchpad_file: Path | None = None, *, lost_after_s: float = LOST_AFTER_S, rerun_fizzled: bool = True
) -> Recovered:
    """Find what dead processes left behind in a campaign's queue, and mend it.

    Parameters
    ----------
    lost_after_s
        Without a sign of life for so long, a process counts as dead.
    rerun_fizzled
        Let fizzled jobs run again, too.

    Raises
    ------
    InputError
        If the launchpad holds no such campaign.
    """
    with opened_launchpad(launchpad_file) as launchpad:
        mine = {"spec.campaign": campaign}
        if launchpad.fireworks.find_one(mine, {"_id": 1}) is None:
            raise InputError(
                f"the launchpad {launchpad.name} holds no campaign {campaign!r}; `lpad get_wflows` lists what it has"
            )
        _, lost, lagging = launchpad.detect_lostruns(expiration_secs=lost_after_s, rerun=True, query=dict(mine))
        stale = sum(_refresh(launchpad, fw_id) for fw_id in lagging if _is_mine(launchpad, fw_id, mine))
        reserved = _freed(launchpad, mine, lost_after_s)
        stray = _removed(launchpad, mine, lost_after_s)
        for workflow in _open_workflows(launchpad, mine):
            stale += _refreshed(launchpad, workflow)
        fizzled = launchpad.get_fw_ids(mine | {"state": "FIZZLED"}) if rerun_fizzled else []
        for fw_id in fizzled:
            launchpad.rerun_fw(fw_id)
        return Recovered(len(lost), reserved, stray, stale, len(fizzled))


def _is_old(document: dict[str, Any], seconds: float) -> bool:
    """Whether nothing was written into a firework's document for so long."""
    changed = document.get("updated_on") or document["created_on"]
    moment = dt.datetime.fromisoformat(changed) if isinstance(changed, str) else changed
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return bool((dt.datetime.now(dt.UTC) - moment).total_seconds() >= seconds)


def _freed(launchpad: Any, mine: dict[str, Any], seconds: float) -> int:
    """Fireworks reserved by a process that died before it launched them are ready again."""
    reserved = list(launchpad.fireworks.find(mine | {"state": "RESERVED"}, {"spec": 0}))
    freed = 0
    for firework in reserved:
        if _is_old(firework, seconds):
            query = {"fw_id": firework["fw_id"], "state": "RESERVED", "updated_on": firework["updated_on"]}
            freed += launchpad.fireworks.update_one(query, {"$set": {"state": "READY"}}).modified_count
    return freed


def _removed(launchpad: Any, mine: dict[str, Any], seconds: float) -> int:
    """Fireworks of which no workflow knows are removed: whoever wrote them died before it wrote them into one."""
    ended = {"$nin": ["COMPLETED", "ARCHIVED", "DEFUSED"]}
    removed = 0
    for firework in list(launchpad.fireworks.find(mine | {"state": ended}, {"spec": 0})):
        if launchpad.workflows.find_one({"nodes": firework["fw_id"]}, {"_id": 1}) is None and _is_old(
            firework, seconds
        ):
            removed += launchpad.fireworks.delete_one({"fw_id": firework["fw_id"]}).deleted_count
    return removed


def _open_workflows(launchpad: Any, mine: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Workflows of the campaign that are not done, as they say themselves."""
    ended = {"$nin": ["COMPLETED", "ARCHIVED", "DEFUSED"]}
    ids = [entry["fw_id"] for entry in launchpad.fireworks.find(mine | {"state": ended}, {"fw_id": 1})]
    query = {"$or": [{"nodes": {"$in": ids}}, {"metadata.campaign": mine["spec.campaign"], "state": ended}]}
    yield from list(launchpad.workflows.find(query, {"nodes": 1, "fw_states": 1, "links": 1}))


def _refreshed(launchpad: Any, workflow: dict[str, Any]) -> int:
    """Let a workflow's table of states follow its fireworks', and let those start whose parents are done; how many it was.

    FireWorks looks at a job's children only when the job's state *changes*: where its process died between the two, they
    have to be looked at themselves.
    """
    fireworks = {entry["fw_id"]: entry for entry in _nodes(launchpad, workflow)}
    parents: dict[int, list[int]] = {fw_id: [] for fw_id in fireworks}
    for parent, children in workflow["links"].items():
        for child in children:
            parents[child].append(int(parent))
    mended = 0
    for fw_id in sorted(fireworks):
        state = launchpad.fireworks.find_one({"fw_id": fw_id}, {"state": 1})["state"]
        if state == "RESERVED":  # a refresh would free it under a worker's hands
            continue
        done = {"COMPLETED", "FIZZLED"} if fireworks[fw_id]["spec"].get("_allow_fizzled_parents") else {"COMPLETED"}
        waits_for_nothing = state == "WAITING" and all(fireworks[each]["state"] in done for each in parents[fw_id])
        if waits_for_nothing or state != workflow["fw_states"].get(str(fw_id)):
            mended += _refresh(launchpad, fw_id)
    return mended


def _refresh(launchpad: Any, fw_id: int) -> int:
    """Let FireWorks look at a job's state and its children's; 1, for counting.

    A server that lost its last second can leave a job done whose children have begun without the jobs it added, which
    FireWorks refuses to mend. It is run again then, with what follows it; all find their outputs.
    """
    try:
        refresh(launchpad, fw_id)
    except RuntimeError:
        launchpad.rerun_fw(fw_id)
    return 1


def _is_mine(launchpad: Any, fw_id: int, mine: dict[str, Any]) -> bool:
    return launchpad.fireworks.find_one({"fw_id": fw_id, **mine}, {"_id": 1}) is not None


def _nodes(launchpad: Any, workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """A workflow's fireworks, without their tasks."""
    fields = {"fw_id": 1, "state": 1, "spec._allow_fizzled_parents": 1}
    return list(launchpad.fireworks.find({"fw_id": {"$in": workflow["nodes"]}}, fields))
