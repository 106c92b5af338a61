"""The campaign that a command is given: by its folder, or by its name in the shared store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idealflow.errors import InputError, LabelsAwaitedError
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
        Where its report is written: its own folder, or a folder of its name in the current one.
    local
        Whether `idealflow run` ran it in that folder.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> target = find_campaign(str(sample_campaign().folder.path))
    >>> target.local, target.directory.report_path.name
    (True, 'report.html')
    >>> target.fetch(target.campaign.state().learner.force_field).suffix
    '.pt'
    """

    campaign: Campaign
    directory: CampaignFolder
    local: bool

    def fetch(self, artifact: Artifact) -> Path:
        """Local path of an artifact, its hash checked."""
        return self.campaign.fetch(artifact)

    def as_it_stands(self, summary: dict[str, Any]) -> dict[str, Any]:
        """Return the summary, with the status ``paused`` if the campaign is to be run in a folder and no process does.

        Where labels are awaited from outside, the reason says so.
        """
        shown = self.directory.with_pause(summary) if self.local else summary
        count = self.campaign.n_awaited() if shown["status"] == "paused" else 0
        return shown | {"reason": str(LabelsAwaitedError(count))} if count else shown


def find_campaign(target: str) -> Target:
    """Find a campaign by its folder, which is opened read-only, or else by its name in jobflow's JOB_STORE.

    Raises
    ------
    InputError
        If there is no campaign there.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> find_campaign(str(sample_campaign().folder.path)).campaign.name
    'tiny'
    """
    directory = CampaignFolder(target)
    if directory.exists():
        return Target(Campaign.open(directory.path), directory, local=True)
    if "/" in target:
        directory.require()
    from jobflow import SETTINGS  # imports stores for two seconds, none of which a folder needs

    campaign = Campaign(SETTINGS.JOB_STORE, target)
    if campaign.state() is None:
        raise InputError(
            f"{directory.path} holds no campaign, and jobflow's JOB_STORE has none named {target!r}; start one with `idealflow "
            "run CONFIG.yaml --out DIR` or `idealflow submit CONFIG.yaml`, and let JOBFLOW_CONFIG_FILE name the store"
        )
    return Target(campaign, directory, local=False)
