"""What computes labels: ASE's calculators, atomate2's static makers, VASP."""

from idealflow.labelling import AseLabeller
from idealflow.workflow.labellers.factory import labeller_from_settings, static_labeller, vasp_labeller
from idealflow.workflow.labellers.protocol import Labeller
from idealflow.workflow.labellers.static import StaticLabeller

__all__ = ["AseLabeller", "Labeller", "StaticLabeller", "labeller_from_settings", "static_labeller", "vasp_labeller"]
