"""What computes labels: ASE's calculators, atomate2's static makers, VASP."""

from idealflow.workflow.labellers.static import (
    AseLabeller,
    Labeller,
    StaticLabeller,
    labeller_from_settings,
    static_labeller,
    vasp_labeller,
)

__all__ = ["AseLabeller", "Labeller", "StaticLabeller", "labeller_from_settings", "static_labeller", "vasp_labeller"]
