"""The science on ase ``Atoms``: descriptors, uncertainty, screening, cropping, embedding, dynamics, replay.

Knows no jobflow and no database. Names are imported when they are first used.
"""

from typing import TYPE_CHECKING

from idealflow.late_imports import late

if TYPE_CHECKING:
    from idealflow.core.borrowed import BorrowedCoverage
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
    from idealflow.core.replay import draw_replay, replay_probabilities
    from idealflow.core.screening import ScreenedFrame, screen, screen_frame
    from idealflow.core.uncertainty import UncertaintyModel

__all__ = [
    "FEWEST",
    "SOAP",
    "BorrowedCoverage",
    "CheckOutcome",
    "Checkpoint",
    "Crop",
    "CropSearch",
    "Embedded",
    "Limits",
    "MDState",
    "Objective",
    "Relaxed",
    "Schedule",
    "ScreenedFrame",
    "SegmentResult",
    "Stage",
    "UncertaintyCalculator",
    "UncertaintyModel",
    "crop_search",
    "draw_replay",
    "embed",
    "get_sampler",
    "md_segment",
    "read_trajectory",
    "relax_shell",
    "replay_probabilities",
    "screen",
    "screen_frame",
    "vacuum_crop",
    "whole_frame",
]

__getattr__, __dir__ = late(
    __name__,
    {
        "borrowed": "BorrowedCoverage",
        "calculator": "UncertaintyCalculator",
        "cropping": "Crop CropSearch crop_search vacuum_crop whole_frame",
        "descriptors": "SOAP",
        "dynamics": "CheckOutcome Checkpoint Limits MDState Schedule SegmentResult Stage get_sampler md_segment read_trajectory",
        "embedding": "Embedded Objective Relaxed embed relax_shell",
        "left_out": "FEWEST",
        "replay": "draw_replay replay_probabilities",
        "screening": "ScreenedFrame screen screen_frame",
        "uncertainty": "UncertaintyModel",
    },
)
