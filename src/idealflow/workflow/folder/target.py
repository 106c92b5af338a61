"""What a command's target means: a campaign's folder, or the name of one in the shared store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idealflow.errors import InputError
from idealflow.provenance import Campaign, CampaignFolder
from idealflow.schemas import Artifact

__all__ = ["Target", "find_campaign"]


@dataclass(frozen=True)
class Target:
    """A campaign, and where its files are.

    Attributes
    ----------
    campaign
        Its documents.
    directory
        Where its report belongs: its folder, or one of its name in the current folder.
    local
        Whether it was run in that folder, by `idealflow run`.
    """

    campaign: Campaign
    directory: CampaignFolder
    local: bool

    def fetch(self, artifact: Artifact) -> Path:
        """Local, verified path of an artifact."""
        return self.campaign.fetch(artifact)

    def as_it_stands(self, summary: dict[str, Any]) -> dict[str, Any]:
        """The summary; ``paused`` where no process runs a folder's campaign."""
        return self.directory.with_pause(summary) if self.local else summary


def find_campaign(target: str) -> Target:
    """The campaign in a folder, opened read-only, or of a name in jobflow's JOB_STORE.

    Raises
    ------
    InputError
        If there is none.
    """
    directory = CampaignFolder(target)
    if directory.exists():
        return Target(Campaign.open(directory.path), directory, local=True)
    if "/" in target:
        directory.require()
    from jobflow import SETTINGS  # with its stores, which take two seconds to import; a folder needs none of them

    campaign = Campaign(SETTINGS.JOB_STORE, target)
    if campaign.state() is None:
        raise InputError(
            f"{directory.path} holds no campaign, and jobflow's JOB_STORE has none named {target!r}; start one with `idealflow "
            "run CONFIG.yaml --out DIR` or `idealflow submit CONFIG.yaml`, and let JOBFLOW_CONFIG_FILE name the store"
        )
    return Target(campaign, directory, local=False)
