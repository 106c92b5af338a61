"""Relaxation of a crop's shell on the uncertainty: the in-distribution embedding of one environment."""

from idealflow.core.embedding.embed import Embedded, embed
from idealflow.core.embedding.objectives import Objective
from idealflow.core.embedding.relax import Relaxed, relax_shell

__all__ = ["Embedded", "Objective", "Relaxed", "embed", "relax_shell"]
