"""The torch path of the uncertainty against the numba path, on one machine: a large frame, and one relaxation step.

    python workflows/benchmarks/torch_path.py [--device cuda] [--atoms 1024000]

Needs torch, numba, numpy, scipy and ase only. Numba runs on as many threads as it is set to (``NUMBA_NUM_THREADS``), on at
most ``--numba-atoms`` atoms of the same frame; its time per atom does not depend on how many.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numba
import numpy as np
import torch

from idealflow.core import SOAP, UncertaintyModel
from workbench.crystals import lithium, rattled

BASIS = {"r_cut": 5.0, "n_max": 8, "l_max": 6, "sigma": 0.5}
WIDTH = 0.15  # Å per component, as at room temperature


def finished(device: torch.device) -> None:
    """Wait for what was sent to the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Median of wall times, s."""
    times = []
    for _ in range(repeats):
        finished(device)
        started = time.perf_counter()
        work()
        finished(device)
        times.append(time.perf_counter() - started)
    return float(np.median(times))


def peak_memory(device: torch.device) -> str:
    """Highest memory so far: of the device where it has its own, else resident (Linux counts in KiB)."""
    if device.type == "cuda":
        allocated, reserved = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
        return f"{allocated / 1e9:.2f} GB of the device's memory in use at most ({reserved / 1e9:.2f} GB reserved)"
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.2f} GB resident at most"


def worst(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest relative difference of single values."""
    return float(np.max(np.abs(found - expected) / np.abs(expected)))


def models(device: str) -> tuple[UncertaintyModel, UncertaintyModel]:
    """One distribution: on the device, and on numba; both in double precision."""
    ours = UncertaintyModel.fit([rattled(lithium(6), WIDTH, seed) for seed in range(10)], SOAP(["Li"], **BASIS))
    with tempfile.TemporaryDirectory() as folder:
        return UncertaintyModel.load(ours.save(Path(folder) / "model"), device=device), ours


def large_frame(arguments: argparse.Namespace, device: torch.device) -> None:
    """Every atom of a frame screened."""
    ours, theirs = models(arguments.device)
    atoms = rattled(lithium(max(1, round((arguments.atoms / 2) ** (1 / 3)))), WIDTH, 99)
    some = np.random.default_rng(0).permutation(len(atoms))[: arguments.numba_atoms]
    ours(rattled(lithium(8), WIDTH, 1))  # compile and load kernels
    theirs(rattled(lithium(8), WIDTH, 1))
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    values = ours(atoms)
    repeats = 3 if device.type == "cuda" else 1
    spent = timed(lambda: ours(atoms), device, repeats)
    memory = peak_memory(device)
    started = time.perf_counter()
    frame = ours.soap.prepare(atoms)
    prepared = time.perf_counter() - started
    per_atom = 1e6 * spent / len(atoms)
    print(
        f"\nLi, {len(atoms)} atoms, {BASIS}\n"
        f"torch on {arguments.device}: {spent:.2f} s, {per_atom:.2f} µs per atom, of which sorting atoms into bins on the CPU "
        f"{prepared:.2f} s; {memory}"
    )
    numba_time = timed(lambda: theirs(frame, some), device, 1)
    numba_per_atom = 1e6 * (numba_time / len(some) + prepared / len(atoms))
    print(
        f"numba on {numba.get_num_threads()} threads: {numba_per_atom:.2f} µs per atom (of {len(some)} of the atoms); "
        f"torch is {numba_per_atom / per_atom:.1f} times as fast"
    )
    difference, same = worst(values[some], theirs(frame, some)), np.array_equal(values, ours(atoms))
    print(f"largest relative difference of values from numba's: {difference:.1e}; the same again: {same}", flush=True)
    ours.cover(rattled(lithium(8), WIDTH, 5), np.arange(1000))
    print(f"coverage by 1000 centres of every atom: {timed(lambda: ours.covered(atoms, 2.0), device, 1):.2f} s")


def one_step(arguments: argparse.Namespace, device: torch.device) -> None:
    """Value and gradient in positions and cell of a small periodic cell."""
    ours, theirs = models(arguments.device)
    atoms = rattled(lithium((3, 5, 4)), WIDTH, 0)
    found, expected = ours.value_and_gradient(atoms), theirs.value_and_gradient(atoms)
    errors = [np.abs(np.subtract(a, b)).max() / np.abs(b).max() for a, b in zip(found, expected, strict=True)]
    torch_time = timed(lambda: ours.value_and_gradient(atoms), device, 20)
    numba_time = timed(lambda: theirs.value_and_gradient(atoms), device, 20)
    print(
        f"\nvalue and gradient of {len(atoms)} atoms: torch {1e3 * torch_time:.1f} ms, numba {1e3 * numba_time:.1f} ms; "
        "differences of value, positions and cell, of the largest: " + ", ".join(f"{error:.1e}" for error in errors)
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="The torch path of the uncertainty against the numba path.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--atoms", type=int, default=1_024_000)
    parser.add_argument("--numba-atoms", type=int, default=100_000)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"torch {torch.__version__} on {name}; {platform.machine()}, {os.cpu_count()} cores")
    large_frame(arguments, device)
    one_step(arguments, device)


if __name__ == "__main__":
    main()
