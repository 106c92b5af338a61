"""What was tried at a factorising, at a version's file and at distances in single precision, and did not pay; measured again.

    python workflows/benchmarks/attempts.py [--parts factorising files sample single]
        [--out workflows/benchmarks/results/attempts.json]

Random alloys as in many_species.py (SOAP of r_cut 5 Å, n_max 8, l_max 6); one thread, CPU time, the least of two calls.

``factorising``: the leading eigenvectors of the covariance of iridium in Ir–N–H (2 100 features, some 3 000 environments) by
several routines of LAPACK, by OpenBLAS (scipy) and MKL (torch), and by subspace iteration from the sample and from the directions
of an earlier version, until no eigenvalue changes by more than 1e-9 of itself, or by the rounding of the largest; and the parts
of one species' metric with four.
``files``: new environments of four species, compressed without loss. ``single``: errors of distances whose projections are in
single precision, two species. ``sample``: automatic thresholds by samples of fewer rows.
"""

from __future__ import annotations

import argparse
import lzma
import time
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg
import torch
from many_species import ELEMENTS, frame_of
from numpy.typing import NDArray
from uncertainty_engine import BASIS

from idealflow.core import SOAP, distinct
from idealflow.core.known import KnownEnvironments
from idealflow.core.whitening import Whitener
from workbench.keeping import add_out, keep
from workbench.threads import one_thread
from workbench.timing import cpu_seconds

Float = NDArray[np.float64]
TOLERANCE, ROUNDING = 1e-9, 1e-15


def learned(n_species: int, n: int, sampled: int = 0) -> tuple[SOAP, KnownEnvironments]:
    """Descriptors and the known environments, about so many of each species; ``sampled`` is the seed of the sample."""
    soap = SOAP(ELEMENTS[:n_species] if n_species != 3 else ("H", "N", "Ir"), **BASIS)
    known = KnownEnvironments(soap.species, soap.n_features, pooled=False, relative_cut=1e-7, seed=sampled)
    seed = 0
    while max(one.n for one in known.distributions.values()) < n:
        seed += 1
        frame = soap.prepare(frame_of(n_species, 512 * n_species, seed))
        known.join(soap(frame), frame.kinds)
    return soap, known


def least(work: Callable[[], object], n_calls: int = 2) -> float:
    """CPU time of the fastest call, s."""
    return min(cpu_seconds(work) for _ in range(n_calls))


def factorising() -> dict[str, Any]:
    """Routines, subspace iteration, and the parts of a metric."""
    _, before = learned(3, 2_000)
    _, known = learned(3, 3_000)
    matrix, most = known.distributions["Ir"].covariance, len(known.whitener("Ir").directions)
    d = len(matrix)
    leading = {"subset_by_index": (d - most, d - 1), "check_finite": False}
    whole = torch.from_numpy(matrix)
    taken = "the leading ones by relatively robust representations (taken)"
    routines = {
        taken: lambda: scipy.linalg.eigh(matrix, driver="evr", **leading),
        "the leading ones by bisection and inverse iteration": lambda: scipy.linalg.eigh(matrix, driver="evx", **leading),
        "all by divide and conquer": lambda: scipy.linalg.eigh(matrix, driver="evd", check_finite=False),
        "all by divide and conquer, MKL": lambda: torch.linalg.eigh(whole),
        "all eigenvalues without a vector": lambda: scipy.linalg.eigvalsh(matrix, check_finite=False),
    }  # fmt: skip
    rows = [{"what": what, "seconds": least(work)} for what, work in routines.items()]
    exact = routines[taken]()[0][::-1]
    sample = known.samples["Ir"].rows - known.distributions["Ir"].mean
    starts = {"sample": sample, "before": np.concatenate([before.whitener("Ir").directions, sample])}
    for name, start in starts.items():
        rounds, seconds, off = iterated(matrix, start, exact)
        rows.append(
            {"what": f"subspace iteration from {ITERATED[name]}", "seconds": seconds, "rounds": rounds, "off": off}
        )
    return {
        "features": d,
        "directions": most,
        "before": before.distributions["Ir"].n,
        "known": known.distributions["Ir"].n,
        "rows": rows,
        "four": parts_of_four(),
    }


ITERATED = {"sample": "the sample", "before": "the directions of an earlier version, and the sample"}


def iterated(matrix: Float, start: Float, exact: Float) -> tuple[int, float, float]:
    """Rounds and CPU time until the leading eigenvalues settle, and how far off they then are, relative to themselves."""
    most, rounds, off = len(exact), 0, np.inf

    def run() -> None:
        nonlocal rounds, off
        width = len(exact) + max(20, len(exact) // 5)
        more = np.random.default_rng(0).normal(size=(max(0, width - len(start)), len(matrix)))
        basis, values, rounds = np.linalg.qr(np.concatenate([start[:width], more]).T)[0], np.zeros(most), 0
        while True:
            rounds += 1
            image = matrix @ basis
            found, turned = np.linalg.eigh(basis.T @ image)
            new = found[::-1][:most]
            if (np.abs(new - values) <= TOLERANCE * new + ROUNDING * new[0]).all() or rounds == 60:
                break
            values, basis = new, np.linalg.qr(image @ turned)[0]
        off = float(np.abs(new / exact - 1.0).max())

    seconds = cpu_seconds(run)
    return rounds, seconds, off


def parts_of_four() -> dict[str, float]:
    """The parts of one species' metric with four species, before its environments are folded, s."""
    _, known = learned(4, 1_200)
    vectors = known.distributions["Ni"].vectors
    if vectors is None:
        raise RuntimeError("the environments were folded")
    centred, n = vectors - vectors.mean(axis=0), len(vectors)
    most = n // 10
    products = centred @ centred.T
    leading = {"subset_by_index": (n - most, n - 1), "check_finite": False}
    values, found = scipy.linalg.eigh(products, driver="evr", **leading)
    directions = (found / np.sqrt(values)).T @ centred

    def outside() -> None:
        """What lies outside the directions, of all environments."""
        left = centred - (centred @ directions.T) @ directions
        (left**2).sum(axis=0)

    return {
        "known": n, "directions": most, "eigenvectors_s": least(lambda: scipy.linalg.eigh(products, driver="evr", **leading)),
        "all_eigenvectors_s": least(lambda: np.linalg.eigh(products)),
        "products_s": least(lambda: centred @ centred.T) + least(lambda: (found / np.sqrt(values)).T @ centred),
        "outside_s": least(outside),
    }  # fmt: skip


def files() -> dict[str, Any]:
    """Kilobytes of a new environment of four species, as it is and compressed without loss; and CPU time, ms."""
    soap, known = learned(4, 500)
    frame = soap.prepare(frame_of(4, 150, 10_000))
    rows, kinds = soap(frame), frame.kinds
    kilobytes = 1e-3 / len(rows)

    def bits(other: Float) -> bytes:
        return np.bitwise_xor(rows.view(np.uint64), np.ascontiguousarray(other).view(np.uint64)).tobytes()

    means = np.array([known.distributions[soap.species[kind]].mean for kind in kinds])
    nearest = np.empty_like(rows)
    for kind in np.unique(kinds):
        sample = known.samples[soap.species[kind]].rows
        own = np.flatnonzero(kinds == kind)
        apart = (sample**2).sum(axis=1) - 2.0 * rows[own] @ sample.T
        nearest[own] = sample[apart.argmin(axis=1)]
    forms = {
        "as it is": rows.tobytes(),
        "bytes of the numbers sorted by place": by_place(rows.tobytes()),
        "bits that differ from the mean, sorted by place": by_place(bits(means)),
        "bits that differ from the nearest known, sorted by place": by_place(bits(nearest)),
    }
    found = [{"what": "not compressed", "kb": kilobytes * rows.nbytes, "ms": 0.0}]
    ways = [("zlib", what) for what in forms] + [("lzma", "bytes of the numbers sorted by place")]
    for name, what in ways:
        started = time.process_time()
        short = {"zlib": zlib.compress, "lzma": lzma.compress}[name](forms[what])
        spent = time.process_time() - started
        found.append({"what": f"{name}, {what}", "kb": kilobytes * len(short), "ms": 1e3 * spent / len(rows)})
    again = 1e6 * least(lambda: soap(frame)) / len(rows)
    return {"n": len(rows), "features": soap.n_features, "rows": found, "again_us": again}


def sample() -> dict[str, Any]:
    """Thresholds of one and two species by samples of so many rows, over eight of them."""
    rows = []
    whole = distinct.SAMPLE
    for n_species in (1, 2):
        for size in (whole, whole // 4, whole // 16):
            distinct.SAMPLE = size
            made = [learned(n_species, 3000, seed) for seed in range(8)]
            found = [known.auto_threshold() for _, known in made]
            features = made[0][0].n_features
            row = {"n_species": n_species, "rows": size, "mb": 8e-6 * size * features, "matrix_mb": 4e-6 * features**2}
            rows.append(row | {"mean": float(np.mean(found)), "spread": float(np.std(found) / np.mean(found))})
            print(rows[-1], flush=True)
    distinct.SAMPLE = whole
    return {"rows": rows}


def by_place(text: bytes) -> bytes:
    """The first bytes of all numbers, then the second ones, and so on."""
    return np.frombuffer(text, np.uint8).reshape(-1, 8).T.tobytes()


def single() -> dict[str, Any]:
    """Largest relative error of an uncertainty by how many directions are taken out in double precision before."""
    soap, known = learned(2, 3_000)
    frame = soap.prepare(frame_of(2, 2_000, 10_000))
    kind = int(frame.kinds[0])
    metric, vectors = known.whiteners()[kind], soap(frame)[frame.kinds == kind]
    if metric is None or len(metric.apart):
        raise RuntimeError("the metric has features of their own weight")
    exact = metric.squared(vectors)
    ways = [(first, False) for first in (0, 8, 32, 64)] + [(8, True)]
    rows = []
    for first, split in ways:
        off = np.abs(in_single(metric, vectors, first, split=split) / exact - 1.0)
        rows.append({"in_double": first, "split": split, "largest": float(off.max()), "median": float(np.median(off))})
    return {"directions": len(metric.directions), "n": len(vectors), "rows": rows}


def in_single(metric: Whitener, vectors: Float, first: int, *, split: bool) -> Float:
    """Squared lengths of whitened vectors: the first directions in double precision, the others in single.

    With ``split`` both factors of the others are sums of two single numbers, and three of the four products are added.
    """
    rest = vectors - metric.mean
    before, others = metric.directions[:first], metric.directions[first:]
    inside = rest @ before.T
    rest -= inside @ before
    (high, low), (along, along_low) = (halves(array) for array in (rest, others.T))
    y = high @ along
    if split:
        y += high @ along_low + low @ along
    whole = np.concatenate([inside, y.astype(float)], axis=1)
    left = np.einsum("ij,ij->i", rest, rest) - (whole[:, first:] ** 2).sum(axis=1)
    found: Float = (whole**2) @ metric.scales**2 + metric.floor * left
    return found


def halves(array: Float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """An array in single precision, and what is left of it likewise."""
    high = array.astype(np.float32)
    return high, (array - high).astype(np.float32)


PARTS = {"factorising": factorising, "files": files, "sample": sample, "single": single}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    for name in arguments.parts:
        found = PARTS[name]()
        print(name, found, flush=True)
        keep(arguments.out, **{name: found})


if __name__ == "__main__":
    main()
