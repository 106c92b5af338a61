"""A campaign's stored documents, from a folder or any jobflow JobStore: what was labelled, why, and what came of it."""

from idealflow.provenance.calibration import centre_force_error
from idealflow.provenance.campaign import Campaign
from idealflow.provenance.chain import CampaignChain
from idealflow.provenance.folder import CampaignFolder, signed
from idealflow.provenance.indexes import COMPOUND_INDEXES, INDEXED_FIELDS, ensure_indexes
from idealflow.provenance.sample import sample_campaign
from idealflow.provenance.trajectory import WalkerTrajectory

__all__ = [
    "COMPOUND_INDEXES",
    "INDEXED_FIELDS",
    "Campaign",
    "CampaignChain",
    "CampaignFolder",
    "WalkerTrajectory",
    "centre_force_error",
    "ensure_indexes",
    "sample_campaign",
    "signed",
]
