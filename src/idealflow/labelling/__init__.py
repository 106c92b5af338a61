"""Labels: energy, forces and stress of a structure, from any engine, in one set of units."""

from idealflow.labelling.ase import AseEngine as AseEngine  # a former name, not for new scripts
from idealflow.labelling.ase import AseLabeller
from idealflow.labelling.ase_worker import close_workers
from idealflow.labelling.box import in_a_box
from idealflow.labelling.documents import label_from_document
from idealflow.labelling.keys import RESOLUTION, former_geometry_key, geometry_key, is_former_geometry_key
from idealflow.labelling.label import Label

__all__ = [
    "RESOLUTION",
    "AseLabeller",
    "Label",
    "close_workers",
    "former_geometry_key",
    "geometry_key",
    "in_a_box",
    "is_former_geometry_key",
    "label_from_document",
]
