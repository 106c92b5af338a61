"""Uncertainty by a committee: where several force fields disagree, none of them has learned enough."""

from idealflow.forcefields.committee.uncertainty import CommitteeUncertainty

__all__ = ["CommitteeUncertainty"]
