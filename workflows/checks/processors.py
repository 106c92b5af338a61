"""Run a command as on a processor with shorter vectors: sums are then taken in another order, and last digits differ.

    python workflows/checks/processors.py sse2 -- python -m pytest -n 2 --dist loadfile

`native` is the processor as it is; `avx2` has vectors of four doubles (most of 2013 and later), `sse2` of two (every x86-64
processor). Restricted are the compilers and libraries that choose by processor: numba, numpy, torch, MKL and OpenBLAS.
What the processor itself lacks cannot be added.
"""

from __future__ import annotations

import os
import sys

from workbench.processors import RESTRICTED, environment


def main() -> None:
    vectors, dashes, *command = sys.argv[1:] or [""]
    if vectors not in RESTRICTED or dashes != "--" or not command:
        raise SystemExit(f"usage: processors.py {{{','.join(RESTRICTED)}}} -- COMMAND...")
    os.execvpe(command[0], command, environment(vectors))  # noqa: S606 - the command is the caller's


if __name__ == "__main__":
    main()
