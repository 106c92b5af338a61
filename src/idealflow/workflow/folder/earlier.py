"""An earlier campaign as the start of a new one: its store, artifacts and last learner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from idealflow.errors import InputError
from idealflow.provenance import Campaign, CampaignFolder
from idealflow.schemas import LearnerVersion
from idealflow.storage import ArtifactStore
from idealflow.workflow.learner.version import load_uncertainty_artifact

__all__ = ["earlier_species", "open_earlier"]


def open_earlier(path: Path) -> tuple[Any, ArtifactStore, LearnerVersion]:
    """Documents, artifacts and last learner of the campaign in directory ``path``, which is only looked at.

    Raises
    ------
    InputError
        If there is no campaign, or it never came to a model.
    """
    if not CampaignFolder(path).exists():
        raise InputError(f"{path} holds no campaign; give the --out directory of an earlier `idealflow run`")
    campaign = Campaign.open(path)
    state = campaign.state()
    if state is None or state.learner is None:
        raise InputError(f"the campaign in {path} has no model yet; let it run at least through its bootstrap")
    return campaign.store, campaign.artifacts, state.learner


def earlier_species(path: Path) -> tuple[str, ...]:
    """Species that the model of the campaign in directory ``path`` knows; InputError as for :func:`open_earlier`."""
    _, artifacts, learner = open_earlier(path)
    return tuple(load_uncertainty_artifact(artifacts, learner).species)
