"""Environments in which libraries use only part of this processor's vectors."""

from __future__ import annotations

import os

import numpy as np

# numba's own default for the features is all that the processor has, whatever its name
RESTRICTED = {
    "native": {},
    "avx2": {
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "",
        "ATEN_CPU_CAPABILITY": "avx2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    },
    "sse2": {
        "NUMBA_CPU_NAME": "generic",
        "NUMBA_CPU_FEATURES": "",
        "ATEN_CPU_CAPABILITY": "default",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        "OPENBLAS_CORETYPE": "Nehalem",
    },
}
_KEPT_BY_NUMPY = {"avx2": {"X86_V3"}, "sse2": set()}


def environment(vectors: str) -> dict[str, str]:
    """Environment variables that restrict the vectors; those of this process otherwise.

    Raises
    ------
    KeyError
        When `vectors` is none of `native`, `avx2`, `sse2`.
    """
    found = os.environ | RESTRICTED[vectors]
    if vectors in _KEPT_BY_NUMPY:  # numpy warns of names that this processor does not have
        here = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
        found["NPY_DISABLE_CPU_FEATURES"] = " ".join(name for name in here if name not in _KEPT_BY_NUMPY[vectors])
    return found
