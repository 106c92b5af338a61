"""Analysis of trajectories and campaigns: structure, transport, reactions, melting, environments, and what learning saved."""

from idealflow.analysis.acceleration import Acceleration, acceleration
from idealflow.analysis.bonds import bond_counts, coordination_numbers
from idealflow.analysis.calibration import CALIBRATION_EDGES, Calibration, calibrate, threshold_for_error
from idealflow.analysis.environments import map_environments
from idealflow.analysis.melting import Jump, jump
from idealflow.analysis.msd import diffusion_coefficient, msd, unwrap
from idealflow.analysis.rdf import RDF, rdf
from idealflow.analysis.reactions import BondRule, ReactionEvent, bonds_along, molecules_of, reaction_events

__all__ = [
    "CALIBRATION_EDGES",
    "RDF",
    "Acceleration",
    "BondRule",
    "Calibration",
    "Jump",
    "ReactionEvent",
    "acceleration",
    "bond_counts",
    "bonds_along",
    "calibrate",
    "coordination_numbers",
    "diffusion_coefficient",
    "jump",
    "map_environments",
    "molecules_of",
    "msd",
    "rdf",
    "reaction_events",
    "threshold_for_error",
    "unwrap",
]
