"""Several force fields as an uncertainty: where they disagree, none of them has learned enough."""

from idealflow.forcefields.committee.uncertainty import CommitteeUncertainty

__all__ = ["CommitteeUncertainty"]
