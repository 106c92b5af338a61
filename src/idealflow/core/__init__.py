"""The science on ase ``Atoms``: descriptors, uncertainty, screening, cropping, embedding, dynamics, replay.

Knows no jobflow and no database. Names are imported when they are first used.
"""

from typing import TYPE_CHECKING

from idealflow.late_imports import late

if TYPE_CHECKING:
    from idealflow.core.calculator import UncertaintyCalculator
    from idealflow.core.cropping import Crop, CropRules, CropSearch, CropWeights, crop_search, vacuum_crop, whole_frame
    from idealflow.core.descriptors import SOAP
    from idealflow.core.dynamics import (
        CheckOutcome,
        Checkpoint,
        Limits,
        MDState,
        Schedule,
        SegmentChecks,
        SegmentEnds,
        SegmentFiles,
        SegmentResult,
        Stage,
        Trajectory,
        get_sampler,
        md_segment,
    )
    from idealflow.core.embedding import Embedded, Objective, Relaxed, RelaxRules, embed, relax_shell
    from idealflow.core.left_out import FEWEST
    from idealflow.core.mixture import MixtureModel
    from idealflow.core.protocols import (
        FirstEnvironments,
        FollowsForceField,
        ForceFieldFit,
        ForceFieldUpdate,
        OnePass,
        Uncertainty,
    )
    from idealflow.core.registry import (
        available_uncertainties,
        load_uncertainty,
        register_uncertainty,
        uncertainty_class,
    )
    from idealflow.core.replay import draw_replay, replay_probabilities
    from idealflow.core.screening import ScreenedFrame, screen
    from idealflow.core.soap_coverage import SOAPCoverage
    from idealflow.core.uncertainty import UncertaintyModel

__all__ = [
    "FEWEST",
    "SOAP",
    "CheckOutcome",
    "Checkpoint",
    "Crop",
    "CropRules",
    "CropSearch",
    "CropWeights",
    "Embedded",
    "FirstEnvironments",
    "FollowsForceField",
    "ForceFieldFit",
    "ForceFieldUpdate",
    "Limits",
    "MDState",
    "MixtureModel",
    "Objective",
    "OnePass",
    "RelaxRules",
    "Relaxed",
    "SOAPCoverage",
    "Schedule",
    "ScreenedFrame",
    "SegmentChecks",
    "SegmentEnds",
    "SegmentFiles",
    "SegmentResult",
    "Stage",
    "Trajectory",
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
    "register_uncertainty",
    "relax_shell",
    "replay_probabilities",
    "screen",
    "uncertainty_class",
    "vacuum_crop",
    "whole_frame",
]

__getattr__, __dir__ = late(
    __name__,
    {
        "calculator": "UncertaintyCalculator",
        "cropping": "Crop CropRules CropSearch CropWeights crop_search vacuum_crop whole_frame",
        "descriptors": "SOAP",
        "dynamics": (
            "CheckOutcome Checkpoint Limits MDState Schedule SegmentChecks SegmentEnds SegmentFiles SegmentResult Stage "
            "Trajectory get_sampler md_segment"
        ),
        "embedding": "Embedded Objective RelaxRules Relaxed embed relax_shell",
        "left_out": "FEWEST",
        "mixture": "MixtureModel",
        "protocols": "FirstEnvironments FollowsForceField ForceFieldFit ForceFieldUpdate OnePass Uncertainty",
        "registry": "available_uncertainties load_uncertainty register_uncertainty uncertainty_class",
        "replay": "draw_replay replay_probabilities",
        "screening": "ScreenedFrame screen",
        "soap_coverage": "SOAPCoverage",
        "uncertainty": "UncertaintyModel",
    },
)
