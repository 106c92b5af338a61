"""An earlier campaign as the start of a new one: its store, artifacts and last learner."""

from __future__ import annotations

from pathlib import Path

from jobflow import JobStore

from idealflow.errors import InputError
from idealflow.provenance import Campaign
from idealflow.schemas import LearnerVersion
from idealflow.storage import ArtifactStore
from idealflow.workflow.folder.directory import CampaignDirectory
from idealflow.workflow.frames.encode import load_uncertainty_artifact

__all__ = ["earlier_species", "open_earlier"]


def open_earlier(path: Path) -> tuple[JobStore, ArtifactStore, LearnerVersion]:
    """Store, artifacts and last learner of the campaign in directory ``path``.

    Raises
    ------
    InputError
        If there is no campaign, or it never came to a model.
    """
    directory = CampaignDirectory(path)
    if not directory.exists():
        raise InputError(f"{path} holds no campaign; give the --out directory of an earlier `idealflow run`")
    store = directory.job_store()
    state = Campaign(store, directory.campaign_name()).state()
    if state is None or state.learner is None:
        raise InputError(f"the campaign in {path} has no model yet; let it run at least through its bootstrap")
    return store, ArtifactStore(directory.artifacts), state.learner


def earlier_species(path: Path) -> tuple[str, ...]:
    """Species that the model of the campaign in directory ``path`` knows; InputError as for :func:`open_earlier`."""
    _, artifacts, learner = open_earlier(path)
    return tuple(load_uncertainty_artifact(artifacts, learner).species)
