"""The kernels made of explicit vector instructions against the same in plain numba, in turns in one run.

    python workflows/benchmarks/simd.py [--repeats 15] [--out workflows/benchmarks/results/simd.json]

Two processes, one a form (``IDEALFLOW_SIMD``), each with one thread, are asked in turns; times are of CPU. A ratio is the median
over the pairs of plain numba / vector instructions, with the lowest and the highest in brackets. SOAP with r_cut 5 Å and σ
0.5 Å, float64, on rattled fcc crystals of 864 atoms (one species) and 500 (four).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from ase import Atoms
from ase.build import bulk

from idealflow.core import SOAP
from idealflow.core.descriptors.vectors import SIMD
from workbench.keeping import add_out, keep
from workbench.timing import cpu_seconds, ratio_text, spread

SPECIES = ("Cu", "Ni", "Al", "Au")
CASES = [
    (what, n_species, n_max, l_max)
    for what in ("values", "value and gradient")
    for n_species in (1, 4)
    for n_max, l_max in ((8, 6), (6, 4))
]
FORMS = {"plain": "0", "simd": "1"}


def crystal(n_species: int) -> Atoms:
    """Face-centred cubic crystal with atoms of so many species at random."""
    atoms = bulk("Cu", cubic=True).repeat(6 if n_species == 1 else 5)
    rng = np.random.default_rng(0)
    atoms.positions += rng.normal(scale=0.1, size=atoms.positions.shape)
    atoms.symbols[:] = rng.choice(SPECIES[:n_species], len(atoms))
    return atoms


def work(what: str, n_species: int, n_max: int, l_max: int) -> Callable[[], object]:
    """What one case computes, compiled."""
    soap = SOAP(SPECIES[:n_species], r_cut=5.0, n_max=n_max, l_max=l_max, sigma=0.5)
    frame = soap.prepare(crystal(n_species))
    weights = np.random.default_rng(1).normal(size=(len(frame), soap.n_features))

    def run() -> object:
        if what == "values":
            return soap(frame)
        return soap.pull_back(frame, None, lambda part, _: weights[part])

    run()
    return run


def answer() -> None:
    """Time each case asked for on standard input, by its number."""
    numba.set_num_threads(1)
    cases = [work(*case) for case in CASES]
    print(json.dumps(SIMD), flush=True)
    for line in sys.stdin:
        print(json.dumps(cpu_seconds(cases[int(line)])), flush=True)


def started(form: str) -> Any:
    """A process that answers for one form."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    process: Any = subprocess.Popen(
        [sys.executable, __file__, "--answer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **threads, "IDEALFLOW_SIMD": FORMS[form]},
    )  # fmt: skip
    if json.loads(process.stdout.readline()) is not (form == "simd"):
        raise SystemExit(f"the process asked for {form} runs the other form")
    return process


def asked(process: Any, case: int) -> float:
    """Seconds of CPU that a process needs for a case."""
    process.stdin.write(f"{case}\n")
    process.stdin.flush()
    return float(json.loads(process.stdout.readline()))


def main() -> None:
    parser = argparse.ArgumentParser(description="Vector instructions against plain numba.")
    parser.add_argument("--repeats", type=int, default=15)
    add_out(parser)
    parser.add_argument("--answer", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:
        answer()
        return
    processes = {form: started(form) for form in FORMS}
    print(f"{'':20s}{'species':>8s}{'n_max':>6s}{'l_max':>6s}{'plain, ms':>11s}{'simd, ms':>10s}   ratio")
    rows = []
    for case, (what, *settings) in enumerate(CASES):
        turns = [[asked(process, case) for process in processes.values()] for _ in range(arguments.repeats)]
        plain, simd = np.array(turns).T
        each = plain / simd
        print(
            f"{what:20s}{settings[0]:8d}{settings[1]:6d}{settings[2]:6d}{1e3 * np.median(plain):11.1f}"
            f"{1e3 * np.median(simd):10.1f}   {ratio_text(each, width=1, digits=2)}",
            flush=True,
        )
        times = {"plain_ms": 1e3 * np.median(plain), "simd_ms": 1e3 * np.median(simd)}
        names = ("n_species", "n_max", "l_max")
        rows.append({"what": what, **dict(zip(names, settings, strict=True)), **times, "ratio": spread(each)})
    keep(arguments.out, kernels=rows)
    for process in processes.values():
        process.communicate()


if __name__ == "__main__":
    main()
