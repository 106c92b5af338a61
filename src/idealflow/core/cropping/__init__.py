"""Crop search: small periodic cells around one atom, its core untouched.

See Kong et al., "Overcoming the size limit of first principles molecular dynamics simulations with an
in-distribution substructure embedding active learner": the crop χ̃ of one environment ρ.
"""

from idealflow.core.cropping.crop import Crop, CropSearch, Refused
from idealflow.core.cropping.rules import CropRules, CropWeights
from idealflow.core.cropping.search import crop_search, vacuum_crop, whole_frame
from idealflow.core.cropping.surroundings import ContactLimits

__all__ = [
    "ContactLimits",
    "Crop",
    "CropRules",
    "CropSearch",
    "CropWeights",
    "Refused",
    "crop_search",
    "vacuum_crop",
    "whole_frame",
]
