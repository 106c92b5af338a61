"""Stages, rounds and campaigns as jobflow Makers and flows; the only room that knows jobflow and atomate2."""

from idealflow.workflow import former_paths
from idealflow.workflow.campaign.continuation import register
from idealflow.workflow.campaign.ideal import IdealMaker
from idealflow.workflow.campaign.state import next_action
from idealflow.workflow.drivers.fireworks import submit_action
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

former_paths.install()
register("launchpad", submit_action)
