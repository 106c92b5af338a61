"""Mend a campaign's queue after processes died, at whatever moment.

FireWorks itself finds jobs that stay RUNNING. A process that is killed *while it updates the queue* leaves other traces: a job
that is reserved and never launched; a workflow whose own table of states is behind its jobs', so that later jobs wait for ever;
jobs that are stored but belong to no workflow. To run a job again is always safe: its output is stored under a name derived from
what it computes.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idealflow.errors import InputError
from idealflow.workflow.drivers.fireworks import opened_launchpad
from idealflow.workflow.drivers.fireworks_internals import refresh

__all__ = ["Recovered", "recover_campaign"]

#: seconds; workers report once an hour that they are alive (FireWorks' PING_TIME_SECS)
LOST_AFTER_S = 4 * 3600

#: seconds in which a server ends what a dead process had asked of it
_UNDER_WAY_S = 2.0


@dataclass(frozen=True)
class Recovered:
    """How many fireworks were mended, by what was wrong with them.

    Attributes
    ----------
    lost
        RUNNING, without a sign of life from their worker; they will run again.
    reserved
        Reserved by a worker and never launched; they are free again.
    stray
        In no workflow; they were removed.
    stale
        Their workflow had not recorded their state; now it has.
    fizzled
        FIZZLED; they will run again.
    undone
        Done, and then WAITING for a job before them that was declared lost as it ended; they will run again, with all that
        follow them.

    Examples
    --------
    >>> from idealflow.workflow.drivers.recovery import Recovered
    >>> print(Recovered(lost=1, reserved=0, stray=0, stale=2, fizzled=3, undone=0))
    1 lost, 3 fizzled and 0 undone jobs will run again; 0 reservations freed, 0 strays removed, 2 stale states mended
    """

    lost: int
    reserved: int
    stray: int
    stale: int
    fizzled: int
    undone: int

    def __str__(self) -> str:
        return (
            f"{self.lost} lost, {self.fizzled} fizzled and {self.undone} undone jobs will run again; "
            f"{self.reserved} reservations freed, {self.stray} strays removed, {self.stale} stale states mended"
        )


def recover_campaign(
    campaign: str, launchpad_file: Path | None = None, *, lost_after_s: float = LOST_AFTER_S, rerun_fizzled: bool = True
) -> Recovered:
    """Find what dead processes left behind in a campaign's queue, and mend it: `idealflow recover`.

    Parameters
    ----------
    campaign
        Name of the campaign.
    launchpad_file
        Launchpad file; None: FireWorks' own configuration.
    lost_after_s
        Seconds without a sign of life after which a process counts as dead.
    rerun_fizzled
        Whether fizzled jobs run again, too.

    Raises
    ------
    InputError
        If the launchpad file does not exist, or the launchpad holds no such campaign.

    Examples
    --------
    >>> from pathlib import Path
    >>> from idealflow.workflow.drivers.recovery import recover_campaign
    >>> recover_campaign("li-melt", Path("absent.yaml"))
    Traceback (most recent call last):
    idealflow.errors.InputError: launchpad file absent.yaml does not exist; `lpad init` writes one
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
        undone = _undone(launchpad, mine)
        for fw_id in undone:
            # FireWorks runs again what is FIZZLED, not what is WAITING; if this process ends here, the next recovery does it
            launchpad.fireworks.update_one({"fw_id": fw_id, "state": "WAITING"}, {"$set": {"state": "FIZZLED"}})
        for fw_id in [*undone, *fizzled]:
            launchpad.rerun_fw(fw_id)
        return Recovered(len(lost), reserved, stray, stale, len(fizzled), len(undone))


def _undone(launchpad: Any, mine: dict[str, Any]) -> list[int]:
    """Ids of the fireworks that are WAITING although a launch of theirs is COMPLETED.

    FireWorks reads which launches run, and later marks them FIZZLED and runs them again, also one that has ended in between.
    What followed it is then WAITING, with its launch. As soon as the job has run again, FireWorks applies that launch a second
    time, refuses to add once more the jobs that it added, and marks the job before it FIZZLED, again and again.
    """
    waiting = list(
        launchpad.fireworks.find(mine | {"state": "WAITING", "launches": {"$ne": []}}, {"fw_id": 1, "launches": 1})
    )
    launches = [launch for firework in waiting for launch in firework["launches"]]
    done = set(launchpad.launches.distinct("launch_id", {"launch_id": {"$in": launches}, "state": "COMPLETED"}))
    return [firework["fw_id"] for firework in waiting if done & set(firework["launches"])]


def _is_old(document: dict[str, Any], seconds: float) -> bool:
    """Whether a firework's document was last written at least this many seconds ago."""
    changed = document.get("updated_on") or document["created_on"]
    moment = dt.datetime.fromisoformat(changed) if isinstance(changed, str) else changed
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.UTC)
    return bool((dt.datetime.now(dt.UTC) - moment).total_seconds() >= seconds)


def _freed(launchpad: Any, mine: dict[str, Any], seconds: float) -> int:
    """Free the fireworks that a process reserved and never launched, since it died; return how many."""
    reserved = list(launchpad.fireworks.find(mine | {"state": "RESERVED"}, {"spec": 0}))
    freed = 0
    for firework in reserved:
        if _is_old(firework, seconds):
            query = {"fw_id": firework["fw_id"], "state": "RESERVED", "updated_on": firework["updated_on"]}
            freed += launchpad.fireworks.update_one(query, {"$set": {"state": "READY"}}).modified_count
    return freed


def _removed(launchpad: Any, mine: dict[str, Any], seconds: float) -> int:
    """Remove the fireworks that no workflow holds, since whoever stored them died before it did the workflow; return how many.

    The last request of a dead process may still be under way in the server, and be the one that stores the workflow. So they are
    looked for again after a pause, and brought back if a workflow holds them after all.
    """
    ended = {"$nin": ["COMPLETED", "ARCHIVED", "DEFUSED"]}
    found = [one for one in launchpad.fireworks.find(mine | {"state": ended}) if _is_old(one, seconds)]
    strays = [one for one in found if not _is_held(launchpad, one)]
    if strays:
        time.sleep(_UNDER_WAY_S)
    strays = [one for one in strays if not _is_held(launchpad, one)]
    for firework in strays:
        launchpad.fireworks.delete_one({"fw_id": firework["fw_id"]})
    held = [one for one in strays if _is_held(launchpad, one)]
    for firework in held:
        launchpad.fireworks.replace_one({"fw_id": firework["fw_id"]}, firework, upsert=True)
    return len(strays) - len(held)


def _is_held(launchpad: Any, firework: dict[str, Any]) -> bool:
    return launchpad.workflows.find_one({"nodes": firework["fw_id"]}, {"_id": 1}) is not None


def _open_workflows(launchpad: Any, mine: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Workflows of the campaign that are not done by their own state or by that of a firework of theirs."""
    ended = {"$nin": ["COMPLETED", "ARCHIVED", "DEFUSED"]}
    ids = [entry["fw_id"] for entry in launchpad.fireworks.find(mine | {"state": ended}, {"fw_id": 1})]
    query = {"$or": [{"nodes": {"$in": ids}}, {"metadata.campaign": mine["spec.campaign"], "state": ended}]}
    yield from list(launchpad.workflows.find(query, {"nodes": 1, "fw_states": 1, "links": 1}))


def _refreshed(launchpad: Any, workflow: dict[str, Any]) -> int:
    """Bring a workflow's table of states in line with its fireworks and release jobs whose parents are done; return how many.

    FireWorks releases the children of a job only when the job's state *changes*. If the process died between the change and the
    release, nobody does it later.
    """
    fireworks = {entry["fw_id"]: entry for entry in _nodes(launchpad, workflow)}
    if len(fireworks) < len(workflow["nodes"]):
        return (
            0  # its submission broke off: whoever submits again, the job that did or `idealflow submit`, completes it
        )
    parents: dict[int, list[int]] = {fw_id: [] for fw_id in fireworks}
    for parent, children in workflow["links"].items():
        for child in children:
            parents[child].append(int(parent))
    mended = 0
    for fw_id in sorted(fireworks):
        state = launchpad.fireworks.find_one({"fw_id": fw_id}, {"state": 1})["state"]
        if state == "RESERVED":  # a refresh would free it while a worker may be launching it
            continue
        done = {"COMPLETED", "FIZZLED"} if fireworks[fw_id]["spec"].get("_allow_fizzled_parents") else {"COMPLETED"}
        waits_for_nothing = state == "WAITING" and all(fireworks[each]["state"] in done for each in parents[fw_id])
        if waits_for_nothing or state != workflow["fw_states"].get(str(fw_id)):
            mended += _refresh(launchpad, fw_id)
    return mended


def _refresh(launchpad: Any, fw_id: int) -> int:
    """Let FireWorks bring the states of a job and of its children up to date; return 1, for counting.

    FireWorks refuses where a server lost its last second of writes: a job may then be done, and its children begun, without the
    jobs that it had added. Such a job is run again, with all that follow it; they find their stored outputs.
    """
    try:
        refresh(launchpad, fw_id)
    except RuntimeError:
        launchpad.rerun_fw(fw_id)
    return 1


def _is_mine(launchpad: Any, fw_id: int, mine: dict[str, Any]) -> bool:
    return launchpad.fireworks.find_one({"fw_id": fw_id, **mine}, {"_id": 1}) is not None


def _nodes(launchpad: Any, workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """The documents of a workflow's fireworks, without their tasks."""
    fields = {"fw_id": 1, "state": 1, "spec._allow_fizzled_parents": 1}
    return list(launchpad.fireworks.find({"fw_id": {"$in": workflow["nodes"]}}, fields))
