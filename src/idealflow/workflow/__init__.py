"""Stages, rounds and campaigns as jobflow Makers and flows; the only room that knows jobflow and atomate2.

Names are imported when they are first used: looking at a campaign needs no jobflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from idealflow.late_imports import late
from idealflow.workflow import former_paths
from idealflow.workflow.campaign.continuation import Submitted, register

if TYPE_CHECKING:
    from jobflow import Flow

    from idealflow.workflow.campaign.ideal import IdealMaker
    from idealflow.workflow.campaign.state import next_action
    from idealflow.workflow.drivers.local import run_campaign
    from idealflow.workflow.labellers import AseLabeller, StaticLabeller
    from idealflow.workflow.stages.bootstrap import BootstrapMaker
    from idealflow.workflow.stages.crop import CropSearchMaker
    from idealflow.workflow.stages.evaluation import EvaluationMaker
    from idealflow.workflow.stages.label import LabelMaker
    from idealflow.workflow.stages.relax import UncertaintyRelaxMaker
    from idealflow.workflow.stages.screen import UncertaintyScreenMaker
    from idealflow.workflow.stages.segment import MDSegmentMaker
    from idealflow.workflow.stages.update import ModelUpdateMaker

__all__ = [
    "AseLabeller",
    "BootstrapMaker",
    "CropSearchMaker",
    "EvaluationMaker",
    "IdealMaker",
    "LabelMaker",
    "MDSegmentMaker",
    "ModelUpdateMaker",
    "StaticLabeller",
    "UncertaintyRelaxMaker",
    "UncertaintyScreenMaker",
    "next_action",
    "run_campaign",
]

__getattr__, __dir__ = late(
    __name__,
    {
        "campaign.ideal": "IdealMaker",
        "campaign.state": "next_action",
        "drivers.local": "run_campaign",
        "labellers": "AseLabeller StaticLabeller",
        "stages.bootstrap": "BootstrapMaker",
        "stages.crop": "CropSearchMaker",
        "stages.evaluation": "EvaluationMaker",
        "stages.label": "LabelMaker",
        "stages.relax": "UncertaintyRelaxMaker",
        "stages.screen": "UncertaintyScreenMaker",
        "stages.segment": "MDSegmentMaker",
        "stages.update": "ModelUpdateMaker",
    },
)


def _to_launchpad(flow: Flow, *, campaign: str, number: int, settings: str, launchpad: str | None) -> Submitted:
    """Submit a flow to FireWorks, whose driver is imported with the first one."""
    from idealflow.workflow.drivers.fireworks import submit_action

    return submit_action(flow, campaign=campaign, number=number, settings=settings, launchpad=launchpad)


former_paths.install()
register("launchpad", _to_launchpad)
