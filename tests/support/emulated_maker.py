"""Makers that run the emulation."""

from __future__ import annotations

from typing import Any

from idealflow.workflow.labellers.vasp import vasp_static

__all__ = ["emulated"]


def emulated(kind: Any = "metal", **settings: Any) -> Any:
    """The maker users get, told that POTCARs are somebody else's business and to look at its run more often."""
    maker = vasp_static(kind, **settings)
    maker.write_input_set_kwargs = {"potcar_spec": True}
    maker.run_vasp_kwargs["custodian_kwargs"] = {"polling_time_step": 0.1, "monitor_freq": 1}
    return maker
