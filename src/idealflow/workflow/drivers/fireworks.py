"""Campaigns on FireWorks: one workflow per round, added to the launchpad once, however often its submission is repeated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ase import Atoms
from jobflow import SETTINGS, Flow
from jobflow.core.flow import get_flow

from idealflow.errors import CampaignError, InputError
from idealflow.provenance import Campaign, ensure_indexes
from idealflow.workflow.campaign.continuation import Submitted, check_budget, check_rounds
from idealflow.workflow.campaign.ideal import IdealMaker
from idealflow.workflow.campaign.opening import science_key
from idealflow.workflow.campaign.reopening import reopened
from idealflow.workflow.jobs.job_store import is_private
from idealflow.workflow.jobs.keys import stage_uuid

__all__ = ["pause_campaign", "submit_action", "submit_campaign"]

#: collection beside FireWorks' own, with one document per campaign
_CAMPAIGNS = "idealflow_campaigns"


def submit_campaign(
    maker: IdealMaker, atoms: Atoms, launchpad_file: Path | None = None, notes: Sequence[str] = ()
) -> str:
    """Add a campaign to FireWorks, or take up a paused or finished one: `idealflow submit`.

    Nothing is done for a campaign that is under way.

    Parameters
    ----------
    maker
        The campaign.
    atoms
        The frame at step 0.
    launchpad_file
        Launchpad file, where the Maker's ``launchpad`` does not name it; None: the Maker's, else FireWorks' own configuration.
    notes
        Messages about the input, kept with a new campaign: what was said when its file was read.

    Returns
    -------
    str
        What was done, in one sentence.

    Raises
    ------
    InputError
        If the launchpad file does not exist or is given twice, ``max_rounds`` or ``continuation`` are set, jobflow's JOB_STORE
        cannot be shared, or the settings contradict what the campaign has run.
    CampaignError
        If the campaign is under way with other settings.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow import IdealMaker
    >>> from idealflow.workflow.drivers.fireworks import submit_campaign
    >>> submit_campaign(IdealMaker(max_rounds=5), bulk("Cu"))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    idealflow.errors.InputError: max_rounds = 5 is for calls on this machine, and a campaign on a launchpad has none; ...
    """
    file = _launchpad_file(maker, launchpad_file)
    maker = replace(maker, continuation="launchpad", launchpad=None if file is None else str(file))
    check_store(maker, atoms)
    settings = science_key(maker)
    with opened_launchpad(file) as launchpad:
        _index(launchpad)
        latest = _latest(launchpad, maker.campaign)
        if latest is not None and (unfinished := _unfinished(launchpad, latest)):
            where = f"campaign {maker.campaign} is on the launchpad {launchpad.name} already, {latest['name']}: {unfinished}"
            if latest["metadata"]["settings"] != settings:
                raise CampaignError(
                    f"{where}. Its settings are not these: stop it at the end of the round with `idealflow pause "
                    f"{maker.campaign}`, and submit again when the round has ended"
                )
            _hold(launchpad, maker.campaign, on=False)
            return where
        _hold(launchpad, maker.campaign, on=False)
        number = launchpad.workflows.count_documents({"metadata.campaign": maker.campaign, "metadata.opening": True})
        flow = maker.make(atoms, notes)
        flow.jobs[0].set_uuid(stage_uuid(maker.campaign, "opening", number))
        key = stage_uuid(maker.campaign, "submission of opening", number)
        _add_once(launchpad, flow, key, {"campaign": maker.campaign, "opening": True, "settings": settings})
        return f"campaign {maker.campaign} is on the launchpad {launchpad.name}; start it with `rlaunch rapidfire`"


def _launchpad_file(maker: IdealMaker, given: Path | None) -> Path | None:
    """The launchpad file, from the Maker or the call; InputError where they, or other settings, contradict a submission."""
    if maker.continuation == "return":
        raise InputError(
            "continuation = return keeps the rounds in one flow, but a submitted campaign adds each to the launchpad; leave "
            "continuation out"
        )
    check_rounds("launchpad", maker.max_rounds)
    check_budget(maker.budget)
    own = None if maker.launchpad is None else Path(maker.launchpad).absolute()
    asked = None if given is None else given.absolute()
    if own is not None and asked is not None and own != asked:
        raise InputError(
            f"the launchpad is {own} in the settings and {asked} in the call; give it once (`launchpad` in the config, or "
            "--launchpad)"
        )
    return asked or own


def pause_campaign(campaign: str, launchpad_file: Path | None = None) -> str:
    """Let the round under way end, and submit no other until the campaign is submitted again: `idealflow pause`.

    Parameters
    ----------
    campaign
        Name of the campaign.
    launchpad_file
        Launchpad file; None: FireWorks' own configuration.

    Returns
    -------
    str
        What was done, in one sentence.

    Raises
    ------
    InputError
        If the launchpad file does not exist, or the launchpad holds no such campaign.

    Examples
    --------
    >>> from pathlib import Path
    >>> from idealflow.workflow.drivers.fireworks import pause_campaign
    >>> pause_campaign("li-melt", Path("absent.yaml"))
    Traceback (most recent call last):
    idealflow.errors.InputError: launchpad file absent.yaml does not exist; `lpad init` writes one
    """
    with opened_launchpad(launchpad_file) as launchpad:
        if _latest(launchpad, campaign) is None:
            raise InputError(
                f"the launchpad {launchpad.name} holds no campaign {campaign!r}; `lpad get_wflows` lists what it has"
            )
        _hold(launchpad, campaign, on=True)
        return f"campaign {campaign} pauses when the round under way has ended; `idealflow submit` goes on"


def submit_action(flow: Flow, *, campaign: str, number: int, settings: str, launchpad: str | None = None) -> Submitted:
    """Submit the flow of a campaign's next action as a workflow. The last job of each round calls this.

    Parameters
    ----------
    flow
        The flow.
    campaign
        Name of the campaign.
    number
        Number of the action, by which its workflow is found again: how many rounds are committed.
    settings
        Key of the settings with which the flow was built.
    launchpad
        Launchpad file; None: FireWorks' own configuration.

    Returns
    -------
    str
        ``submitted``; ``already``, if it was submitted before; ``held``, if the campaign is to pause.

    Raises
    ------
    CampaignError
        If this worker's FireWorks configuration leads to a launchpad that does not hold the campaign.

    Examples
    --------
    >>> from jobflow import Flow
    >>> from idealflow.workflow.drivers.fireworks import submit_action
    >>> submit_action(Flow([]), campaign="li-melt", number=3, settings="2-0123", launchpad="absent.yaml")
    Traceback (most recent call last):
    idealflow.errors.InputError: launchpad file absent.yaml does not exist; `lpad init` writes one
    """
    with opened_launchpad(None if launchpad is None else Path(launchpad)) as pad:
        _index(pad)  # a campaign added from Python, by flow_to_workflow, comes here first
        known = ({"metadata.campaign": campaign}, {"_id": 1}), ({"spec.campaign": campaign}, {"_id": 1})
        if pad.workflows.find_one(*known[0]) is None and pad.fireworks.find_one(*known[1]) is None:
            raise CampaignError(
                f"this worker's launchpad, {pad.name} on {pad.host}, does not hold campaign {campaign}; let "
                "FW_CONFIG_FILE (with LAUNCHPAD_LOC) on every worker name the launchpad it was submitted to"
            )
        key = stage_uuid(campaign, number, "submit")
        held = pad.db[_CAMPAIGNS].find_one({"campaign": campaign, "hold": True}) is not None
        if held and pad.workflows.find_one({"metadata.submission": key}, {"_id": 1}) is None:
            return "held"
        metadata = {"campaign": campaign, "round": number, "settings": settings}
        return "submitted" if _add_once(pad, flow, key, metadata) else "already"


@contextmanager
def opened_launchpad(path: Path | None) -> Iterator[Any]:
    """The launchpad of a file, or of FireWorks' own configuration; its connection is closed with the context.

    Raises
    ------
    InputError
        If the file does not exist.
    """
    from fireworks import LaunchPad  # here: commands that need no queue start without it

    if path is not None and not path.is_file():
        raise InputError(f"launchpad file {path} does not exist; `lpad init` writes one")
    launchpad = LaunchPad.auto_load() if path is None else LaunchPad.from_file(str(path))
    try:
        yield launchpad
    finally:
        launchpad.connection.close()


def _add_once(launchpad: Any, flow: Flow, key: str, metadata: dict[str, Any]) -> bool:
    """Add a flow as a workflow; return False if it was added before.

    The workflow's document is stored first: its key has a unique index, so one of two processes succeeds. The fireworks follow,
    each only if it is missing, and those without parents last. A process that dies in between leaves nothing that a worker could
    start, and the next one completes the workflow.
    """
    from fireworks import Workflow
    from jobflow.managers.fireworks import job_to_firework
    from pymongo.errors import DuplicateKeyError

    jobs = list(get_flow(flow).iterflow())
    known = launchpad.workflows.find_one({"metadata.submission": key}, {"nodes": 1})
    if known is None:
        first = launchpad.get_new_fw_id(quantity=len(jobs))
        ids = list(range(first, first + len(jobs)))
    else:  # jobs that were added while the workflow ran have higher numbers
        ids = sorted(known["nodes"])[: len(jobs)]
        if launchpad.fireworks.count_documents({"fw_id": {"$in": ids}}) == len(jobs):
            return False
    metadata = metadata | {"submission": key, "first_fw": ids[0]}
    fireworks: dict[str, Any] = {}
    for (job, parents), fw_id in zip(jobs, ids, strict=True):
        job_to_firework(job, parents=parents, parent_mapping=fireworks, fw_id=fw_id)
    workflow = Workflow(list(fireworks.values()), name=flow.name, metadata=metadata)
    roots = workflow.root_fw_ids
    for fw_id in roots:
        workflow.id_fw[fw_id].state = workflow.fw_states[fw_id] = "READY"
    if known is None:
        try:
            launchpad.workflows.insert_one(workflow.to_db_dict())
        except DuplicateKeyError:
            return _add_once(launchpad, flow, key, metadata)
    for firework in sorted(workflow.fws, key=lambda firework: firework.fw_id in roots):
        document = firework.to_db_dict()
        fw_id = document.pop("fw_id")
        launchpad.fireworks.update_one({"fw_id": fw_id}, {"$setOnInsert": document}, upsert=True)
    if launchpad.workflows.find_one({"metadata.submission": key}, {"_id": 1}) is None:
        # the server was killed meanwhile and came back without its last second
        launchpad.workflows.insert_one(workflow.to_db_dict())
    return True


def check_store(maker: IdealMaker, atoms: Atoms) -> None:
    """Refuse a store that workers cannot share, and settings that contradict what is stored; make the store's indexes."""
    store = SETTINGS.JOB_STORE
    if is_private(store):
        raise InputError(
            f"jobflow's JOB_STORE is a {type(store.docs_store).__name__}, which no two workers share; let "
            "JOBFLOW_CONFIG_FILE name a jobflow.yaml with a MongoStore, here and on every worker"
        )
    stored = Campaign(store, maker.campaign).state()
    ensure_indexes(store)
    if stored is not None:
        reopened(maker, stored, atoms, store)


def _index(launchpad: Any) -> None:
    """Indexes by which campaigns find their workflows; the one on the key is unique."""
    launchpad.workflows.create_index("metadata.submission", unique=True, sparse=True)
    launchpad.workflows.create_index("metadata.campaign")
    launchpad.db[_CAMPAIGNS].create_index("campaign", unique=True)


def _hold(launchpad: Any, campaign: str, *, on: bool) -> None:
    launchpad.db[_CAMPAIGNS].update_one({"campaign": campaign}, {"$set": {"hold": on}}, upsert=True)


def _latest(launchpad: Any, campaign: str) -> dict[str, Any] | None:
    """The workflow of the campaign that was added last; None if there is none."""
    found = launchpad.workflows.find_one({"metadata.campaign": campaign}, sort=[("metadata.first_fw", -1)])
    return None if found is None else dict(found)


def _unfinished(launchpad: Any, workflow: dict[str, Any]) -> str:
    """Numbers of fireworks by state while the workflow's last job is to be done; an empty text when it is done."""
    fireworks = list(
        launchpad.fireworks.find({"fw_id": {"$in": workflow["nodes"]}}, {"state": 1, "spec.stage": 1, "fw_id": 1})
    )
    ends = [entry for entry in fireworks if entry["spec"].get("stage") in ("open", "state")]
    if all(entry["state"] in ("COMPLETED", "ARCHIVED", "DEFUSED") for entry in ends) and ends:
        return ""
    states = [entry["state"] for entry in fireworks]
    counts = ", ".join(f"{states.count(state)} {state}" for state in sorted(set(states)))
    fizzled = [str(entry["fw_id"]) for entry in fireworks if entry["state"] == "FIZZLED"]
    remedy = f"; `idealflow recover` runs the fizzled ones ({', '.join(fizzled)}) again" if fizzled else ""
    return f"fireworks {counts or 'none'}{remedy}"
