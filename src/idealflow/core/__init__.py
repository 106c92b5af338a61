"""The science on ase ``Atoms``: descriptors, uncertainty, screening, cropping, embedding, dynamics, replay.

Knows no jobflow and no database.
"""

from idealflow.core.calculator import UncertaintyCalculator
from idealflow.core.cropping import Crop, CropSearch, crop_search, vacuum_crop, whole_frame
from idealflow.core.descriptors import SOAP
from idealflow.core.dynamics import (
    CheckOutcome,
    Checkpoint,
    Limits,
    MDState,
    Schedule,
    SegmentResult,
    Stage,
    get_sampler,
    md_segment,
    read_trajectory,
)
from idealflow.core.embedding import Embedded, Objective, Relaxed, embed, relax_shell
from idealflow.core.left_out import FEWEST
from idealflow.core.protocols import FirstEnvironments, ForceFieldFit, ForceFieldUpdate, Uncertainty
from idealflow.core.registry import available_uncertainties, load_uncertainty, register_uncertainty, uncertainty_class
from idealflow.core.replay import draw_replay, replay_probabilities
from idealflow.core.screening import ScreenedFrame, screen, screen_frame
from idealflow.core.soap_coverage import SOAPCoverage
from idealflow.core.uncertainty import UncertaintyModel

__all__ = [
    "FEWEST",
    "SOAP",
    "CheckOutcome",
    "Checkpoint",
    "Crop",
    "CropSearch",
    "Embedded",
    "FirstEnvironments",
    "ForceFieldFit",
    "ForceFieldUpdate",
    "Limits",
    "MDState",
    "Objective",
    "Relaxed",
    "SOAPCoverage",
    "Schedule",
    "ScreenedFrame",
    "SegmentResult",
    "Stage",
    "Uncertainty",
    "UncertaintyCalculator",
    "UncertaintyModel",
    "available_uncertainties",
    "crop_search",
    "draw_replay",
    "embed",
    "get_sampler",
    "load_uncertainty",
    "md_segment",
    "read_trajectory",
    "register_uncertainty",
    "relax_shell",
    "replay_probabilities",
    "screen",
    "screen_frame",
    "uncertainty_class",
    "vacuum_crop",
    "whole_frame",
]
