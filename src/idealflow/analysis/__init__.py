"""Analysis of trajectories and campaigns: structure, transport, reactions, melting, environments, and what learning saved.

What computes with force fields is imported when it is first used: looking at a campaign does not need it.
"""

from typing import TYPE_CHECKING

from idealflow.analysis.acceleration import Acceleration, acceleration
from idealflow.analysis.adsorption import adsorption_events, held_along
from idealflow.analysis.bonds import BondRule, bonds_along, one_bond_each
from idealflow.analysis.calibration import CALIBRATION_EDGES, Calibration, calibrate, threshold_for_error
from idealflow.analysis.coordination import bond_counts, coordination_numbers
from idealflow.analysis.environments import map_environments
from idealflow.analysis.melting import Jump, jump
from idealflow.analysis.molecules import Molecule, molecules_along, molecules_of
from idealflow.analysis.msd import diffusion_coefficient, msd, unwrap
from idealflow.analysis.rdf import RDF, rdf
from idealflow.analysis.reactions import ReactionEvent, reaction_events
from idealflow.late_imports import late

if TYPE_CHECKING:
    from idealflow.analysis.crystals import CrystalAtRest, relax_crystal
    from idealflow.analysis.heating import Rung, heat
    from idealflow.analysis.model_errors import FrameError, ModelErrors, compare_on_frames, mean_errors
    from idealflow.analysis.order import short_range_order
    from idealflow.analysis.phases import PHASES, local_phases, phase_fractions

__all__ = [
    "CALIBRATION_EDGES",
    "PHASES",
    "RDF",
    "Acceleration",
    "BondRule",
    "Calibration",
    "CrystalAtRest",
    "FrameError",
    "Jump",
    "ModelErrors",
    "Molecule",
    "ReactionEvent",
    "Rung",
    "acceleration",
    "adsorption_events",
    "bond_counts",
    "bonds_along",
    "calibrate",
    "compare_on_frames",
    "coordination_numbers",
    "diffusion_coefficient",
    "heat",
    "held_along",
    "jump",
    "local_phases",
    "map_environments",
    "mean_errors",
    "molecules_along",
    "molecules_of",
    "msd",
    "one_bond_each",
    "phase_fractions",
    "rdf",
    "reaction_events",
    "relax_crystal",
    "short_range_order",
    "threshold_for_error",
    "unwrap",
]

__getattr__, __dir__ = late(
    __name__,
    {
        "crystals": "CrystalAtRest relax_crystal",
        "heating": "Rung heat",
        "model_errors": "FrameError ModelErrors compare_on_frames mean_errors",
        "order": "short_range_order",
        "phases": "PHASES local_phases phase_fractions",
    },
)
