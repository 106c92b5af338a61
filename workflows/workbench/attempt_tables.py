"""What was tried and did not pay (`benchmarks/attempts.py`): tables and figures."""

from __future__ import annotations

from workbench.markdown import digits, markdown
from workbench.measured_tables import kept


def power(value: float) -> str:
    """One digit and a power of ten, as pages write it."""
    digit, exponent = f"{value:.0e}".split("e")
    return f"${digit} \\cdot 10^{{{int(exponent)}}}$"


def factorising() -> str:
    """Leading eigenvectors of a covariance by several routines."""
    rows = []
    for row in kept("benchmarks", "attempts")["factorising"]["rows"]:
        rounds = [str(row["rounds"]), power(row["off"])] if "rounds" in row else ["", ""]
        rows.append([row["what"], f"{row['seconds']:.2f}", *rounds])
    return markdown(["way", "s", "rounds", "largest error of an eigenvalue"], rows)


def files() -> str:
    """A new environment of four species, compressed without loss."""
    part = kept("benchmarks", "attempts")["files"]
    rows = [[row["what"], f"{row['kb']:.1f}", f"{row['ms']:.1f}" if row["ms"] else ""] for row in part["rows"]]
    return markdown(["way", "a new environment, kB", "ms"], rows)


def sample() -> str:
    """Automatic thresholds by samples of fewer rows."""
    heads = [
        "species",
        "rows of the sample",
        "they take, MB",
        "the matrix takes, MB",
        "threshold",
        "its standard deviation, %",
    ]
    rows = [
        [
            str(row["n_species"]),
            str(row["rows"]),
            f"{row['mb']:.2f}",
            f"{row['matrix_mb']:.2f}",
            f"{row['mean']:.1f}",
            f"{100 * row['spread']:.0f}",
        ]
        for row in kept("benchmarks", "attempts")["sample"]["rows"]
    ]
    return markdown(heads, rows)


def single() -> str:
    """Errors of uncertainties whose last projections are in single precision."""
    rows = []
    for row in kept("benchmarks", "attempts")["single"]["rows"]:
        others = "two single numbers, three products" if row["split"] else "single"
        rows.append([str(row["in_double"]), others, power(row["median"]), power(row["largest"])])
    return markdown(["directions in double precision", "the others", "relative error, median", "largest"], rows)


def figure(part: str, name: str) -> str:
    """A figure of a part; ``four/NAME`` one of the metric of four species."""
    found = kept("benchmarks", "attempts")[part]
    for key in name.split("/"):
        found = found[key]
    return digits(found, 2) if isinstance(found, float) else str(found)


TABLES = {"factorising": factorising, "files": files, "sample": sample, "single": single}
