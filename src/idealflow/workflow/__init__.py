"""Stages, rounds and campaigns as jobflow Makers and flows; the only room that knows jobflow and atomate2."""

from idealflow.workflow.bootstrap import BootstrapMaker
from idealflow.workflow.crop import CropSearchMaker
from idealflow.workflow.driver import run_campaign
from idealflow.workflow.evaluation import EvaluationMaker
from idealflow.workflow.ideal import IdealMaker
from idealflow.workflow.label import LabelMaker
from idealflow.workflow.labellers import AseLabeller, StaticLabeller
from idealflow.workflow.relax import UncertaintyRelaxMaker
from idealflow.workflow.screen import UncertaintyScreenMaker
from idealflow.workflow.segment import MDSegmentMaker
from idealflow.workflow.state import next_action
from idealflow.workflow.update import ModelUpdateMaker

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
