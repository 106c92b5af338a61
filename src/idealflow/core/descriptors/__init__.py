"""Atom-wise descriptors: neighbours, SOAP, and DScribe as the reference of tests."""

from idealflow.core.descriptors.neighbours import NeighbourGrid, Pairs, neighbour_pairs
from idealflow.core.descriptors.prepared import PreparedFrame, chosen_atoms
from idealflow.core.descriptors.soap import SOAP

__all__ = ["SOAP", "NeighbourGrid", "Pairs", "PreparedFrame", "chosen_atoms", "neighbour_pairs"]
