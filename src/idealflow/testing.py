"""Conformance kits: what third parties run to prove that their part keeps our conventions."""

from idealflow.labelling.conformance import LabellerCheck, check_labeller

__all__ = ["LabellerCheck", "check_labeller"]
