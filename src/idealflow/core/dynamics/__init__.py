"""Dynamics: temperature schedules, states of walkers, samplers, trajectories, and the MD segment that watches itself."""

from idealflow.core.dynamics.monte_carlo import MonteCarloSampler
from idealflow.core.dynamics.outcome import CheckOutcome, Checkpoint, Limits, Observation, SegmentResult
from idealflow.core.dynamics.protocol import (
    Motion,
    Sampler,
    available_samplers,
    get_sampler,
    register_sampler,
    sampler_from_dict,
    sampler_to_dict,
)
from idealflow.core.dynamics.samplers import BussiSampler, LangevinSampler, NPTSampler, NVESampler
from idealflow.core.dynamics.schedule import Schedule, Stage
from idealflow.core.dynamics.segment import md_segment
from idealflow.core.dynamics.settings import SegmentChecks, SegmentEnds, SegmentFiles
from idealflow.core.dynamics.state import MDState, frame_arrays
from idealflow.core.dynamics.trajectory import Trajectory
from idealflow.core.dynamics.trajectory_writer import TrajectoryWriter

__all__ = [
    "BussiSampler",
    "CheckOutcome",
    "Checkpoint",
    "LangevinSampler",
    "Limits",
    "MDState",
    "MonteCarloSampler",
    "Motion",
    "NPTSampler",
    "NVESampler",
    "Observation",
    "Sampler",
    "Schedule",
    "SegmentChecks",
    "SegmentEnds",
    "SegmentFiles",
    "SegmentResult",
    "Stage",
    "Trajectory",
    "TrajectoryWriter",
    "available_samplers",
    "frame_arrays",
    "get_sampler",
    "md_segment",
    "register_sampler",
    "sampler_from_dict",
    "sampler_to_dict",
]
