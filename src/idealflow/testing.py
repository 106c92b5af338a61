"""Conformance kits: what third parties run to prove that their part keeps our conventions."""

from idealflow.core.conformance import UncertaintyCheck, check_uncertainty
from idealflow.forcefields.conformance import ForceFieldCheck, check_force_field
from idealflow.labelling.conformance import LabellerCheck, check_labeller

__all__ = [
    "ForceFieldCheck",
    "LabellerCheck",
    "UncertaintyCheck",
    "check_force_field",
    "check_labeller",
    "check_uncertainty",
]
