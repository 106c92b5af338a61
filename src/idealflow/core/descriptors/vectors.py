"""Operations on eight numbers at a time, of which the kernels are made: written for the compiler, or plain numba.

On Linux with an x86-64 processor they are :mod:`~idealflow.core.descriptors.simd`, elsewhere
:mod:`~idealflow.core.descriptors.loops`. The environment variable ``IDEALFLOW_SIMD``, 1 or 0, overrides that. Kernels are then
compiled anew in every process: numba's cache on disk does not know which of the two a kernel was made of.
"""

from __future__ import annotations

import os
import platform

from idealflow.core.descriptors.loops import LANES, SPLINE_DEGREE
from idealflow.errors import InputError

__all__ = [
    "CACHED",
    "LANES",
    "SIMD",
    "SPLINE_DEGREE",
    "add_product",
    "block_product",
    "gram",
    "gram_at",
    "gram_half",
    "set_product",
    "set_scaled",
    "solid_harmonics",
    "solid_harmonics_reverse",
    "spline",
    "spline_and_slope",
    "takes_simd",
    "transpose",
]


def takes_simd(system: str, machine: str, override: str | None = None) -> bool:
    """Whether the kernels are made of :mod:`~idealflow.core.descriptors.simd`.

    Parameters
    ----------
    system, machine
        As :func:`platform.system` and :func:`platform.machine` name them.
    override
        ``"1"`` or ``"0"``, whatever the platform.

    Raises
    ------
    InputError
        For another override.

    Examples
    --------
    >>> takes_simd("Linux", "x86_64"), takes_simd("Linux", "aarch64"), takes_simd("Darwin", "arm64")
    (True, False, False)
    >>> takes_simd("Linux", "x86_64", override="0")
    False
    """
    if override is None:
        return (system, machine) == ("Linux", "x86_64")
    if override not in {"0", "1"}:
        raise InputError(f"IDEALFLOW_SIMD must be 0 or 1, got {override!r}; unset it to let the platform decide")
    return override == "1"


_override = os.environ.get("IDEALFLOW_SIMD")

#: whether the operations below are those of ``simd``
SIMD = takes_simd(platform.system(), platform.machine(), _override)

#: whether kernels made of these operations may be kept on disk
CACHED = _override is None

if SIMD:
    from idealflow.core.descriptors.simd import (
        add_product,
        block_product,
        gram,
        gram_at,
        gram_half,
        set_product,
        set_scaled,
        transpose,
    )
    from idealflow.core.descriptors.simd_harmonics import solid_harmonics, solid_harmonics_reverse
    from idealflow.core.descriptors.simd_splines import spline, spline_and_slope
else:
    from idealflow.core.descriptors.loops import (
        add_product,
        block_product,
        gram,
        gram_at,
        gram_half,
        set_product,
        set_scaled,
        solid_harmonics,
        solid_harmonics_reverse,
        spline,
        spline_and_slope,
        transpose,
    )
