"""Tables of the engine by basis and species, beside other programs, and of compressed descriptors."""

from __future__ import annotations

from workbench.floor_tables import HEADS, cells, rows_and_floors
from workbench.markdown import markdown, ratio, thousands
from workbench.measured_tables import kept, named

PROGRAMS = {
    "dscribe": "DScribe",
    "dscribe_analytic": "DScribe, analytic, on images",
    "featomic": "featomic",
    "quippy": "quippy",
}
MODES = {"off": "none", "mu1nu1": "`mu1nu1`", "crossover": "`crossover`", "mu2": "`mu2`"}


def values() -> str:
    """Descriptors against DScribe, µs per atom."""
    heads = [
        "system",
        "atoms",
        "DScribe",
        "float64",
        *HEADS,
        "float32",
        "float64 against DScribe",
        "float32 against DScribe",
    ]
    rows = []
    for row, floor in rows_and_floors("values"):
        ratios = [ratio(row[f"{name}_ratio"]) for name in ("float64", "float32")]
        rows.append([
            named(row["system"]), thousands(row["n_atoms"]), f"{row['dscribe_us']:.1f}", f"{row['float64_us']:.1f}",
            *cells(floor), f"{row['float32_us']:.1f}", *ratios,
        ])  # fmt: skip
    return markdown(heads, rows)


def bases() -> str:
    """Values against DScribe by species and basis: how many times as fast."""
    rows = kept("benchmarks", "engine_bases")["bases"]
    columns = sorted({(row["l_max"], row["n_max"]) for row in rows})
    heads = ["species", *(f"n {n_max}, l {l_max}" for l_max, n_max in columns)]
    lines = []
    for n_species in sorted({row["n_species"] for row in rows}):
        own = {(row["l_max"], row["n_max"]): ratio(row["ratio"]) for row in rows if row["n_species"] == n_species}
        lines.append([str(n_species), *(own[column] for column in columns)])
    return markdown(heads, lines)


def cell_gradients() -> str:
    """Value and gradient of periodic cells against DScribe."""
    heads = ["cell", "DScribe, ms", "idealflow, ms", *HEADS, "ratio"]
    rows = [
        [
            f"{named(row['system'])}, {row['n_atoms']} atoms",
            thousands(row["dscribe_ms"]),
            f"{row['ours_ms']:.2f}",
            *cells(floor),
            ratio(row["ratio"], 0),
        ]
        for row, floor in rows_and_floors("gradients")
    ]
    return markdown(heads, rows)


def gradients() -> str:
    """Uncertainty and gradient against DScribe's derivatives of periodic cells, by species and basis."""
    heads = ["species", "n_max, l_max", "atoms", "DScribe, ms", "idealflow, ms", *HEADS, "ratio"]
    rows = [
        [
            str(row["n_species"]),
            f"{row['n_max']}, {row['l_max']}",
            str(row["n_atoms"]),
            thousands(row["dscribe_ms"]),
            f"{row['ours_ms']:.2f}",
            *cells(floor),
            ratio(row["ratio"], 0),
        ]
        for row, floor in rows_and_floors("basis-gradients")
    ]
    return markdown(heads, rows)


def threads() -> str:
    """One thread and two."""
    heads = ["species", "atoms", "", "one thread, s", "two, s", "ratio", "load of the machine"]
    heads += ["the calling thread's share, %", "CPU, two over one", "ratio by these, alone"]
    rows = [
        [
            str(row["n_species"]),
            thousands(row["n_atoms"]),
            row["what"],
            f"{row['one_s']:.2f}",
            f"{row['two_s']:.2f}",
            ratio(row["ratio"], 2),
            f"{row['load']:.1f}",
            f"{100 * row['serial']:.1f}",
            f"{row['cpu_ratio']:.2f}",
            f"{row['at_best']:.2f}",
        ]
        for row in kept("benchmarks", "engine_bases")["threads"]
    ]
    return markdown(heads, rows)


def others(part: str) -> str:
    """Other programs' values or gradients over ours."""
    heads = ["", "atoms", f"idealflow, {'µs per atom' if part == 'values' else 'ms'}"]
    found = kept("benchmarks", "other_descriptors")[part]
    names = [name for name in PROGRAMS if f"{name}_ratio" in found[0]]
    rows = [
        [
            named(row["system"]),
            str(row["n_atoms"]),
            f"{row['ours']:.1f}",
            *(ratio(row[f"{name}_ratio"], 1 if part == "values" else 0) for name in names),
        ]
        for row in found
    ]
    return markdown([*heads, *(PROGRAMS[name] for name in names)], rows)


def compressed_alloy() -> str:
    """What each mode sees in an alloy of four metals."""
    found = kept("checks", "compression")["alloy"]
    kinds = list(found[0]["above"])
    heads = ["compression", "features", "descriptors, µs", "uncertainties, µs", *kinds]
    rows = []
    for row in found:
        shares = [f"{100 * row['above'][kind]:.1f} %" for kind in kinds]
        seen = [
            f"{share} ({row['auc'][kind]:.2f})" if kind in row["auc"] else share
            for kind, share in zip(kinds, shares, strict=True)
        ]
        times = [f"{row[name]:.1f}" for name in ("soap_us", "uncertainty_us")]
        rows.append([MODES[row["mode"]], thousands(row["features"]), *times, *seen])
    return markdown(heads, rows)


def area(mode: str, kind: str) -> str:
    """How well a mode tells a kind of environment (its blanks as hyphens) from new solid solution."""
    (row,) = (row for row in kept("checks", "compression")["alloy"] if row["mode"] == mode)
    return f"{row['auc'][kind.replace('-', ' ')]:.2f}"


def at_n(n_species: str, n_max: str) -> str:
    """Median ratio of value and gradient to DScribe's, of so many species and radial functions."""
    rows = kept("benchmarks", "engine_bases")["gradients"]
    (row,) = (row for row in rows if (row["n_species"], row["n_max"]) == (int(n_species), int(n_max)))
    return f"{row['ratio'][0]:.0f}"


def compressed_coverage() -> str:
    """The coverage rule by mode."""
    heads = ["compression", "labels in 72 vacancy frames", "interstitial atoms that trigger", "largest hidden"]
    heads += ["force error of covered atoms (in distribution)"]
    rows = []
    for row in kept("checks", "compression")["coverage"]:
        covered, known = 1e3 * row["covered_error"], 1e3 * row["in_distribution_error"]
        rows.append([
            MODES[row["mode"]], str(row["n_labels"]), f"{100 * row['triggering']:.1f} % of {row['n_uncertain']}",
            f"{row['highest_hidden']:.1f} τ", f"{covered:.1f} ({known:.1f}) meV/Å",
        ])  # fmt: skip
    return markdown(heads, rows)
