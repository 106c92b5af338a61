"""VASP for substructures: input sets, what a site needs, and the checks of a finished run."""

from idealflow.workflow.labellers.vasp.inputs import PRESETS, Preset, SubstructureSetGenerator, vasp_static
from idealflow.workflow.labellers.vasp.labeller import VaspLabeller

__all__ = ["PRESETS", "Preset", "SubstructureSetGenerator", "VaspLabeller", "vasp_static"]
