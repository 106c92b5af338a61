"""Labels: energy, forces and stress of a structure, from any engine, in one set of units."""

from idealflow.labelling.ase_worker import AseEngine, close_workers
from idealflow.labelling.box import in_a_box
from idealflow.labelling.documents import label_from_document
from idealflow.labelling.keys import geometry_key
from idealflow.labelling.label import Label

__all__ = ["AseEngine", "Label", "close_workers", "geometry_key", "in_a_box", "label_from_document"]
