"""idealflow: molecular dynamics beyond DFT's size limit, kept right by labelling in-distribution substructures (IDEAL).

What is needed to run a campaign, and to look at one, is here:

- :class:`IdealMaker` is the campaign, with a Maker for each of its stages; :func:`run_campaign` runs it on this machine.
- :class:`AseLabeller`, :class:`StaticLabeller` and :func:`vasp_static` compute its labels.
- :class:`Campaign` opens one that was run: ``Campaign.open(folder)`` or ``Campaign.open(name)``.

The science without jobflow is :mod:`idealflow.core`; force fields are in :mod:`idealflow.forcefields`.
"""

from __future__ import annotations

from importlib import import_module
from operator import attrgetter
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "AseLabeller": "idealflow.labelling",
    "BootstrapMaker": "idealflow.workflow",
    "Campaign": "idealflow.provenance",
    "CropSearchMaker": "idealflow.workflow",
    "EvaluationMaker": "idealflow.workflow",
    "IdealMaker": "idealflow.workflow",
    "LabelMaker": "idealflow.workflow",
    "MDSegmentMaker": "idealflow.workflow",
    "ModelUpdateMaker": "idealflow.workflow",
    "StaticLabeller": "idealflow.workflow",
    "UncertaintyRelaxMaker": "idealflow.workflow",
    "UncertaintyScreenMaker": "idealflow.workflow",
    "run_campaign": "idealflow.workflow",
    "vasp_static": "idealflow.workflow.labellers.vasp",
}

#: classes that stored documents name as ours, beside the public ones
_STORED = {
    "ConsolidationMaker": "idealflow.workflow.stages.consolidate",
    "ExternalLabeller": "idealflow.workflow.labellers.external",
    "LabelTimeHandler": "idealflow.workflow.labellers.vasp.limits",
    "RelabelMaker": "idealflow.workflow.stages.relabel",
    "SubstructureSetGenerator": "idealflow.workflow.labellers.vasp",
    "VaspLabeller": "idealflow.workflow.labellers.vasp",
}

__all__ = ["__version__", *sorted(_PUBLIC)]  # noqa: PLE0604  # names of lazily imported objects

if TYPE_CHECKING:
    from idealflow.labelling import AseLabeller as AseLabeller
    from idealflow.provenance import Campaign as Campaign
    from idealflow.workflow import BootstrapMaker as BootstrapMaker
    from idealflow.workflow import CropSearchMaker as CropSearchMaker
    from idealflow.workflow import EvaluationMaker as EvaluationMaker
    from idealflow.workflow import IdealMaker as IdealMaker
    from idealflow.workflow import LabelMaker as LabelMaker
    from idealflow.workflow import MDSegmentMaker as MDSegmentMaker
    from idealflow.workflow import ModelUpdateMaker as ModelUpdateMaker
    from idealflow.workflow import StaticLabeller as StaticLabeller
    from idealflow.workflow import UncertaintyRelaxMaker as UncertaintyRelaxMaker
    from idealflow.workflow import UncertaintyScreenMaker as UncertaintyScreenMaker
    from idealflow.workflow import run_campaign as run_campaign
    from idealflow.workflow.labellers.vasp import vasp_static as vasp_static


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used: ``idealflow.core`` alone must not load jobflow."""
    if (room := _PUBLIC.get(name, _STORED.get(name))) is not None:
        return getattr(import_module(room), name)
    if "." in name and name.partition(".")[0] in _PUBLIC:  # monty asks so for a Maker's body that a subclass overrides
        return attrgetter(name.partition(".")[2])(__getattr__(name.partition(".")[0]))
    raise AttributeError(f"module 'idealflow' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public names, so that completion finds what is not imported yet."""
    return sorted({*globals(), *__all__})
