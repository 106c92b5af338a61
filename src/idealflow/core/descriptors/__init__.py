"""Atom-wise descriptors: neighbours, SOAP, and DScribe as the reference of tests."""

from idealflow.core.descriptors.neighbours import NeighbourGrid, Pairs, neighbour_pairs
from idealflow.core.descriptors.soap import SOAP, PreparedFrame, chosen_atoms

__all__ = ["SOAP", "NeighbourGrid", "Pairs", "PreparedFrame", "chosen_atoms", "neighbour_pairs"]
