"""Conformance kits: checks with which authors of force fields, labellers and uncertainties test their own classes.

They verify the conventions that a campaign relies on: units, signs, derivatives, the order of atoms, files and errors.
"""

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
