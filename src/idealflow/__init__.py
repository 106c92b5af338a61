"""idealflow: molecular dynamics beyond DFT's size limit, kept right by labelling in-distribution substructures (IDEAL)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "BootstrapMaker": "idealflow.workflow",
    "Campaign": "idealflow.provenance",
    "CropSearchMaker": "idealflow.workflow",
    "IdealMaker": "idealflow.workflow",
    "LabelMaker": "idealflow.workflow",
    "MDSegmentMaker": "idealflow.workflow",
    "ModelUpdateMaker": "idealflow.workflow",
    "UncertaintyRelaxMaker": "idealflow.workflow",
    "UncertaintyScreenMaker": "idealflow.workflow",
}

__all__ = ["__version__", *sorted(_PUBLIC)]  # noqa: PLE0604  # names of lazily imported objects

if TYPE_CHECKING:
    from idealflow.provenance import Campaign as Campaign
    from idealflow.workflow import (
        BootstrapMaker as BootstrapMaker,
    )
    from idealflow.workflow import (
        CropSearchMaker as CropSearchMaker,
    )
    from idealflow.workflow import (
        IdealMaker as IdealMaker,
    )
    from idealflow.workflow import (
        LabelMaker as LabelMaker,
    )
    from idealflow.workflow import (
        MDSegmentMaker as MDSegmentMaker,
    )
    from idealflow.workflow import (
        ModelUpdateMaker as ModelUpdateMaker,
    )
    from idealflow.workflow import (
        UncertaintyRelaxMaker as UncertaintyRelaxMaker,
    )
    from idealflow.workflow import (
        UncertaintyScreenMaker as UncertaintyScreenMaker,
    )


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used: ``idealflow.core`` alone must not pull in jobflow."""
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'idealflow' has no attribute {name!r}")
