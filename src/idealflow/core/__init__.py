"""The science on ase ``Atoms``: descriptors, uncertainty, screening, cropping, embedding, dynamics, replay.

Knows no jobflow and no database.
"""

from idealflow.core.calculator import UncertaintyCalculator
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
from idealflow.core.replay import draw_replay, replay_probabilities
from idealflow.core.screening import ScreenedFrame, screen, screen_frame
from idealflow.core.uncertainty import UncertaintyModel

__all__ = [
    "SOAP",
    "CheckOutcome",
    "Checkpoint",
    "Limits",
    "MDState",
    "Schedule",
    "ScreenedFrame",
    "SegmentResult",
    "Stage",
    "UncertaintyCalculator",
    "UncertaintyModel",
    "draw_replay",
    "get_sampler",
    "md_segment",
    "read_trajectory",
    "replay_probabilities",
    "screen",
    "screen_frame",
]
