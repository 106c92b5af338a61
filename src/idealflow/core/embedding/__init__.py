"""Relaxation of a crop's shell on the uncertainty: the in-distribution embedding of one environment."""

from idealflow.core.embedding.relax import Relaxed, relax_shell

__all__ = ["Relaxed", "relax_shell"]
