"""Analysis of trajectories and campaigns: structure, transport, bonds, maps of environments, and what learning saved."""

from idealflow.analysis.acceleration import Acceleration, acceleration
from idealflow.analysis.bonds import bond_counts, coordination_numbers
from idealflow.analysis.calibration import CALIBRATION_EDGES, Calibration, calibrate, threshold_for_error
from idealflow.analysis.environments import map_environments
from idealflow.analysis.msd import diffusion_coefficient, msd, unwrap
from idealflow.analysis.rdf import RDF, rdf

__all__ = [
    "CALIBRATION_EDGES",
    "RDF",
    "Acceleration",
    "Calibration",
    "acceleration",
    "bond_counts",
    "calibrate",
    "coordination_numbers",
    "diffusion_coefficient",
    "map_environments",
    "msd",
    "rdf",
    "threshold_for_error",
    "unwrap",
]
