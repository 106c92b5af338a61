"""VASP for substructures: input sets set on purpose, the site's settings, and what a finished run is checked for."""

from idealflow.workflow.labellers.vasp.inputs import PRESETS, Preset, SubstructureSetGenerator, vasp_static
from idealflow.workflow.labellers.vasp.labeller import VaspLabeller

__all__ = ["PRESETS", "Preset", "SubstructureSetGenerator", "VaspLabeller", "vasp_static"]
