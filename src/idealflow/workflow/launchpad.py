"""Campaigns on FireWorks: one workflow per round, submitted once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase import Atoms

from idealflow.errors import InputError, MissingExtraError
from idealflow.schemas import CampaignState
from idealflow.workflow.keys import stage_uuid

if TYPE_CHECKING:
    from idealflow.workflow.ideal import IdealMaker
    from idealflow.workflow.state import Action

__all__ = ["submit_action", "submit_campaign"]

_SUBMITTED = "idealflow_rounds"


def submit_campaign(maker: IdealMaker, atoms: Atoms, launchpad_file: Path | None = None) -> str:
    """Add the campaign's opening job to FireWorks; says what was submitted.

    Raises
    ------
    MissingExtraError
        If FireWorks is not installed.
    InputError
        If the launchpad file does not exist.
    """
    from dataclasses import replace

    launchpad = _launchpad(launchpad_file)
    from jobflow.managers.fireworks import flow_to_workflow

    workflow = flow_to_workflow(replace(maker, continuation="launchpad").make(atoms))
    launchpad.add_wf(workflow)
    return f"campaign {maker.campaign} is on the launchpad {launchpad.name}; start it with `rlaunch rapidfire`"


def submit_action(maker: IdealMaker, state: CampaignState, action: Action, launchpad_file: Path | None = None) -> bool:
    """Submit the workflow of a campaign's next action; False if it was submitted before (by a job that was rerun)."""
    from jobflow.managers.fireworks import flow_to_workflow
    from pymongo.errors import DuplicateKeyError

    launchpad = _launchpad(launchpad_file)
    rounds = launchpad.db[_SUBMITTED]
    rounds.create_index("key", unique=True)
    key = stage_uuid(state.campaign, state.round, "submit")
    try:
        rounds.insert_one({"key": key, "campaign": state.campaign, "round": state.round, "submitted": False})
    except DuplicateKeyError:
        if rounds.find_one({"key": key})["submitted"] or _on_launchpad(launchpad, key):
            return False
    workflow = flow_to_workflow(maker.flow(state, action, 1))
    workflow.metadata |= {"campaign": state.campaign, "round": state.round, "submission": key}
    launchpad.add_wf(workflow)
    rounds.update_one({"key": key}, {"$set": {"submitted": True}})
    return True


def _on_launchpad(launchpad: Any, key: str) -> bool:
    """Whether the workflow was added by a process that died before it could say so."""
    return launchpad.workflows.find_one({"metadata.submission": key}) is not None


def _launchpad(path: Path | None) -> Any:
    try:
        from fireworks import LaunchPad
    except ImportError as error:
        raise MissingExtraError("FireWorks is not installed; run: pip install 'idealflow[fireworks]'") from error
    if path is None:
        return LaunchPad.auto_load()
    if not path.is_file():
        raise InputError(f"launchpad file {path} does not exist; `lpad init` writes one")
    return LaunchPad.from_file(str(path))
