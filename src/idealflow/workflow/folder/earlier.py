"""An earlier campaign as the start of a new one: its store, artifacts and last learner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from idealflow.errors import InputError
from idealflow.provenance import Campaign, CampaignFolder
from idealflow.schemas import LearnerVersion
from idealflow.storage import ArtifactStore
from idealflow.workflow.learner.version import load_uncertainty_artifact

__all__ = ["earlier_cutoff", "earlier_species", "first_weights", "open_earlier"]


def open_earlier(path: Path) -> tuple[Any, ArtifactStore, LearnerVersion]:
    """Open the campaign in folder ``path``, without writing to it: its documents, its artifacts, its last learner.

    Raises
    ------
    InputError
        If there is no campaign in the folder, or it has no model yet.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> documents, artifacts, learner = open_earlier(sample_campaign().folder.path)
    >>> learner.version, documents.count({"output.kind": "segment"})
    (4, 6)
    """
    if not CampaignFolder(path).exists():
        raise InputError(f"{path} holds no campaign; give the --out directory of an earlier `idealflow run`")
    campaign = Campaign.open(path)
    state = campaign.state()
    if state is None or state.learner is None:
        raise InputError(f"the campaign in {path} has no model yet; let it run at least through its bootstrap")
    return campaign.store, campaign.artifacts, state.learner


def earlier_species(path: Path) -> tuple[str, ...]:
    """Return the species that the last model of the campaign in folder ``path`` knows.

    Raises
    ------
    InputError
        As :func:`open_earlier`.

    Examples
    --------
    >>> earlier_species(Path("li"))  # a folder that there is not
    Traceback (most recent call last):
    idealflow.errors.InputError: li holds no campaign; give the --out directory of an earlier `idealflow run`
    """
    _, artifacts, learner = open_earlier(path)
    return tuple(load_uncertainty_artifact(artifacts, learner).species)


def earlier_cutoff(path: Path) -> float:
    """Return the radius of what the last uncertainty of the campaign in folder ``path`` sees around an atom, Å.

    Raises
    ------
    InputError
        As :func:`open_earlier`.

    Examples
    --------
    >>> earlier_cutoff(Path("li"))  # a folder that there is not
    Traceback (most recent call last):
    idealflow.errors.InputError: li holds no campaign; give the --out directory of an earlier `idealflow run`
    """
    _, artifacts, learner = open_earlier(path)
    return float(load_uncertainty_artifact(artifacts, learner).cutoff)


def first_weights(folder: CampaignFolder) -> Path | None:
    """Return the campaign's own copy of the pretrained weights that it began from; None if it has none, or has not begun.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> first_weights(sample_campaign().folder) is None  # it began from random weights
    True
    """
    if not folder.exists():
        return None
    campaign = Campaign.open(folder.path)
    first = campaign.bootstrap()
    return None if first is None or first.weights is None else campaign.fetch(first.weights)
