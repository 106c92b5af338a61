"""What force fields by message passing share: graphs, evaluation in parts, calculator, learning, files."""

from idealflow.forcefields.message_passing.evaluation import Evaluator
from idealflow.forcefields.message_passing.force_field import MessagePassingForceField
from idealflow.forcefields.message_passing.graph import (
    Frame,
    Graph,
    Part,
    frame_of,
    graph_of,
    joined,
    parts_of,
    surroundings_of,
)
from idealflow.forcefields.message_passing.network import Edges, MessagePassingNetwork, PairStates

__all__ = [
    "Edges",
    "Evaluator",
    "Frame",
    "Graph",
    "MessagePassingForceField",
    "MessagePassingNetwork",
    "PairStates",
    "Part",
    "frame_of",
    "graph_of",
    "joined",
    "parts_of",
    "surroundings_of",
]
