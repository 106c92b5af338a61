"""What computes labels: ASE's calculators, atomate2's static makers, VASP, or somebody elsewhere."""

from idealflow.labelling import AseLabeller
from idealflow.workflow.labellers.engine import LabellerCalculator, reference_calculator
from idealflow.workflow.labellers.external import ExternalLabeller
from idealflow.workflow.labellers.factory import labeller_from_settings, static_labeller, vasp_labeller
from idealflow.workflow.labellers.protocol import Labeller
from idealflow.workflow.labellers.static import StaticLabeller

__all__ = [
    "AseLabeller",
    "ExternalLabeller",
    "Labeller",
    "LabellerCalculator",
    "StaticLabeller",
    "labeller_from_settings",
    "reference_calculator",
    "static_labeller",
    "vasp_labeller",
]
