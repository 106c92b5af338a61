"""One core for a script: results are exact to the bit for a fixed number of threads, and times mean something."""

from __future__ import annotations

import os
import sys

import numba
import threadpoolctl


def one_thread() -> None:
    """Keep BLAS, torch and numba of this process to one thread, and the processes that it starts.

    Call it in `main`: a module that is imported leaves its importer's threads and environment alone.
    """
    threadpoolctl.threadpool_limits(1)
    if "torch" in sys.modules:  # else it will read the environment
        sys.modules["torch"].set_num_threads(1)
    numba.set_num_threads(1)
    for library in ("OMP", "MKL", "OPENBLAS"):  # not numba's: it refuses to compile after that one has changed
        os.environ[f"{library}_NUM_THREADS"] = "1"
