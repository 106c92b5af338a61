"""Run a command as on a processor with shorter vectors: sums are then taken in another order, and last digits differ.

    python workflows/checks/processors.py sse2 -- python -m pytest -n 2 --dist loadfile

`native` is the processor as it is; `avx2` has vectors of four doubles (most of 2013 and later), `sse2` of two (every x86-64
processor). Restricted are the compilers and libraries that choose by processor: numba, numpy, torch, MKL and OpenBLAS.
What the processor itself lacks cannot be added.
"""

from __future__ import annotations

import os
import sys

from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

__all__ = ["RESTRICTED", "environment"]

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
        here = [name for name in __cpu_dispatch__ if __cpu_features__[name]]
        found["NPY_DISABLE_CPU_FEATURES"] = " ".join(name for name in here if name not in _KEPT_BY_NUMPY[vectors])
    return found


def main() -> None:
    vectors, dashes, *command = sys.argv[1:] or [""]
    if vectors not in RESTRICTED or dashes != "--" or not command:
        raise SystemExit(f"usage: processors.py {{{','.join(RESTRICTED)}}} -- COMMAND...")
    os.execvpe(command[0], command, environment(vectors))  # noqa: S606 - the command is the caller's


if __name__ == "__main__":
    main()
