"""The science on ase ``Atoms``: descriptors, uncertainty, screening, cropping, embedding, dynamics, replay.

Knows no jobflow and no database.
"""

from idealflow.core.dynamics import (
    Checkpoint,
    CheckOutcome,
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

__all__ = [
    "CheckOutcome",
    "Checkpoint",
    "Limits",
    "MDState",
    "Schedule",
    "SegmentResult",
    "Stage",
    "draw_replay",
    "get_sampler",
    "md_segment",
    "read_trajectory",
    "replay_probabilities",
]
