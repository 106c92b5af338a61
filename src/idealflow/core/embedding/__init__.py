"""Relaxation of a crop's shell on the uncertainty, which embeds one environment among known ones (Kong et al.: χ̃ → χ̃*)."""

from idealflow.core.embedding.embed import Embedded, embed
from idealflow.core.embedding.objectives import Objective
from idealflow.core.embedding.relax import Relaxed, relax_shell
from idealflow.core.embedding.rules import RelaxRules

__all__ = ["Embedded", "Objective", "RelaxRules", "Relaxed", "embed", "relax_shell"]
