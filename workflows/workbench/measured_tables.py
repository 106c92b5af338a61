"""Tables of the design, the engine and the FireWorks pages, from what the checks and benchmarks kept (`keeping.py`)."""

from __future__ import annotations

import json
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from workbench.markdown import digits, markdown, ratio, thousands

WORKFLOWS = Path(__file__).resolve().parents[1]
FIGURES = WORKFLOWS.parent / "docs" / "examples" / "figures.json"
NAMES = {"Al2O3": "Al₂O₃", "Ir-N-H": "Ir–N–H", "Ni3Al": "Ni₃Al"}
VECTORS = {"native": "all that the processor has (above)", "avx2": "four doubles (AVX2)", "sse2": "two doubles (SSE2)"}
STAGES = {
    "neighbours": "neighbours",
    "density": "density (splines, harmonics, sums)",
    "power spectrum": "power spectrum",
    "whitening": "whitening",
}
KILLED = {
    "segment": "MD segment",
    "screen": "screen",
    "crop": "crop search",
    "relax": "relaxation",
    "label": "label",
    "update": "model update",
    "submit": "adding the next round",
}


@cache
def kept(folder: str, name: str) -> dict[str, Any]:
    """What a script of a folder of workflows/ kept, by its parts."""
    found: dict[str, Any] = json.loads((WORKFLOWS / folder / "results" / f"{name}.json").read_text())
    return found


def named(system: str) -> str:
    """A system as pages write it."""
    return NAMES.get(system, system)


def threshold() -> str:
    """What the automatic threshold catches."""
    heads = ["system", "training frames", "τ", "atoms of the crystal above τ"]
    heads += ["frames with one: crystal", "with a vacancy", "liquid atoms above τ"]
    rows = []
    for row in kept("checks", "threshold")["caught"]:
        crystal, _, liquid = row["atoms_above"]
        shares = [f"{digits(crystal)} %", *(f"{share:.0f} %" for share in row["frames_above"]), f"{liquid:.0f} %"]
        training = f"{row['n_frames']} of {row['n_atoms']} atoms"
        rows.append([named(row["system"]), training, f"{row['threshold']:.1f}", *shares])
    return markdown(heads, rows)


def threshold_errors() -> str:
    """How wrong the force field is by uncertainty over the threshold, meV/Å."""
    part = kept("checks", "threshold")
    quarters = {0.25: "¼", 0.5: "½"}
    edges = [quarters.get(edge, f"{edge:g}") for edge in part["edges"]]
    heads = ["u/τ", *(f"{low}–{high}" for low, high in pairwise(edges)), "above"]
    rows = [[named(row["system"]), *(f"{value:.0f}" for value in row["by_ratio"])] for row in part["force_errors"]]
    return markdown(heads, rows)


SHOWN_SETS = (7, 20, 60, 200, 400)
NEW = {"vacancy": "neighbours of a vacancy", "hcp": "hcp", "bcc": "bcc"}


def before_and_now(part: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Rows of a part of the check of few environments, by the former measure and by today's."""
    both = (kept("checks", name)[part] for name in ("few_samples_before", "few_samples"))
    return list(zip(*both, strict=True))


def volumes() -> str:
    """The least uncertainty over τ of what is not in a set of volumes."""
    names = NEW | {"rattled": "crystal rattled by 0.1 Å"}
    rows = []
    for before, now in before_and_now("volumes"):
        rows.append([str(now["n"]), *(f"{digits(before[name])} → {digits(now[name])}" for name in names)])
    return markdown(["volumes", *names.values()], rows)


def rattled() -> str:
    """What is new in and beside rattled cells."""
    rows = []
    for before, now in before_and_now("rattled"):
        if now["n"] not in SHOWN_SETS:
            continue
        seen = [f"{digits(before[name])} → {digits(now[name])}" for name in NEW]
        above = f"{before['above']:.1f} → {now['above']:.1f} %"
        rows.append([str(now["n"]), f"{now['rattled_by']:g} Å", above, *seen])
    return markdown(["environments", "rattled by", "like them, above τ", *NEW.values()], rows)


def minority() -> str:
    """One silver atom in 32 of copper."""
    heads = ["cells", "rattled by", "pair of Ag, least u/τ", "displaced Ag, median u/τ", "held-out Ag above τ"]
    rows = []
    for before, now in before_and_now("minority"):
        seen = [f"{digits(before[name])} → {digits(now[name])}" for name in ("pair", "displaced")]
        rows.append([str(now["n"]), f"{now['rattled_by']:g} Å", *seen, f"{before['above']:g} → {now['above']:g} %"])
    return markdown(heads, rows)


def coverage() -> str:
    """The coverage rule in numbers."""
    heads = [
        "system", "uncertainty", "environments at the start", "labels in 72 vacancy frames", "interstitial atoms that trigger",
        "largest hidden",
        "force error of covered atoms (in distribution)",
    ]  # fmt: skip
    rows = []
    for row in kept("checks", "coverage_rule").values():
        covered, known = row["covered_error"], 1e3 * row["in_distribution_error"]
        rows.append([
            named(row["system"]),
            f"`{row.get('measure', 'soap')}`",
            thousands(row["n_environments"]),
            str(row["n_labels"]),
            f"{100 * row['triggering']:.1f} % of {row['n_uncertain']}",
            f"{row['highest_hidden']:.1f} τ" if row["highest_hidden"] else "–",
            f"{'–' if covered is None else f'{1e3 * covered:.1f}'} ({known:.1f}) meV/Å",
        ])  # fmt: skip
    return markdown(heads, rows)


def plane_waves() -> str:
    """Slopes of the energy in a strain, beside the stress."""
    heads = ["strain", "waves at +, −", "slope of the energy", "off by", "explained", "left (eV/Å³)"]
    rows = []
    for row in kept("checks", "plane_wave_stress")["600_eV"]["strains"]:
        figures = [row["slope"], row["off"], row["explained"], row["off"] - row["explained"]]
        texts = [f"{round(figure, 4) + 0.0:.4f}".replace("-", "−") for figure in figures]
        rows.append([f"±{row['strain']:g}", ", ".join(map(thousands, row["waves"])), *texts])
    return markdown(heads, rows)


def engine() -> dict[str, Any]:
    """What benchmarks/uncertainty_engine.py kept."""
    return kept("benchmarks", "uncertainty_engine")


def many_species() -> str:
    """What uncertainties cost beside their descriptors, by species and known environments."""
    heads = [
        "species",
        "features",
        "known of the commonest (in all)",
        "directions",
        "descriptors, µs",
        "uncertainties, µs",
        "ratio",
    ]
    heads += ["distances alone, µs", "their arithmetic at best, µs", "by whitened vectors, µs"]
    heads += ["metric again, s", "file, MB", "a new environment, kB"]
    rows = []
    for row in kept("benchmarks", "many_species")["rows"]:
        times = [f"{row[name]:.1f}" for name in ("soap_us", "uncertainty_us")]
        apart = [f"{row[name]:.1f}" for name in ("distances_us", "floor_us", "explicit_us")]
        known = f"{thousands(row['known'])} ({thousands(row['in_all'])})"
        least_over_least = ratio([row["uncertainty_us"] / row["soap_us"], *row["ratio"][1:]], 2)
        rows.append([
            str(row["species"]), thousands(row["features"]), known, thousands(row["directions"]), *times, least_over_least,
            *apart, f"{row['factorising_s']:.2f}", digits(row["file_mb"], 3), f"{row['new_kb_each']:.1f}",
        ])  # fmt: skip
    return markdown(heads, rows)


def many_species_figure(n_species: str, known: str, name: str) -> str:
    """A figure of one row, found by its species and known environments of the commonest."""
    rows = kept("benchmarks", "many_species")["rows"]
    (row,) = (row for row in rows if (row["species"], row["known"]) == (int(n_species), int(known)))
    return digits(row[name], 2)


def mixture_cost() -> str:
    """What the mixture costs over its descriptors, and with its gradient over theirs."""
    heads = ["species", "features", "Gaussians", "descriptors, µs", "`soap` over them", "`mixture` over them"]
    heads += ["with gradient, descriptors, µs", "`mixture` over them"]
    rows = [
        [
            str(row["species"]), thousands(row["features"]), str(row["gaussians"]), f"{row['soap_us']:.1f}",
            ratio(row["base_ratio"], 2), ratio(row["ratio"], 2), f"{row['gradient_us']:.1f}", ratio(row["gradient_ratio"], 2),
        ]
        for row in kept("benchmarks", "many_species")["mixture"]
    ]  # fmt: skip
    return markdown(heads, rows)


def engine_scale() -> str:
    """Frames of growing size."""
    heads = ["atoms", "basis", "threads", "precision", "s", "µs per atom", "peak resident, GB", "one centre, ms"]
    rows = []
    for row in engine()["scale"]:
        r_cut, n_max, l_max, sigma = row["basis"].split("/")
        rows.append([
            thousands(row["atoms"]), f"{r_cut} Å, {n_max}, {l_max}, {sigma} Å", str(row["threads"]), row["dtype"],
            digits(row["seconds"]), f"{1e6 * row['seconds'] / row['atoms']:.1f}", f"{row['peak_gb']:.2f}",
            f"{1e3 * row['one_centre']:.2f}",
        ])  # fmt: skip
    return markdown(heads, rows)


def engine_coverage() -> str:
    """What it takes to tell whether 2 000 atoms are covered."""
    rows = [
        [thousands(row["n_covering"]), digits(row["ms"]), f"{row['over_screening']:.1f}"]
        for row in engine()["coverage"]
    ]
    return markdown(["covering centres", "ms", "over the screening of the same atoms"], rows)


def engine_profile(part: str = "profile") -> str:
    """Where the time of an atom goes, of one species or (``profile_four``) of four."""
    heads = ["stage", "µs per atom", "kflop", "Gflop/s", "at the rate of a matrix product, µs"]
    rows, profile = [], engine()[part]
    for row in profile["stages"]:
        counted = row["kflop"] > 0
        rate = [f"{row['kflop']:.1f}", f"{1e3 * row['kflop'] / row['us'] * 1e-3:.1f}", f"{row['floor_us']:.1f}"]
        rows.append([STAGES[row["stage"]], f"{row['us']:.1f}", *(rate if counted else ["–"] * 3)])
    kflop, floor, whole = profile_sums(part)
    last = ["all of it", f"{whole:.1f}", f"{kflop:.1f}", f"{kflop / whole:.1f}", f"{floor:.1f}"]
    return markdown(heads, [*rows, last])


def profile_sums(part: str = "profile") -> tuple[float, float, float]:
    """Operations of an atom (kflop), what they would take at best, and what an atom takes (µs)."""
    profile = engine()[part]
    kflop, floor = (sum(row[name] for row in profile["stages"]) for name in ("kflop", "floor_us"))
    return kflop, floor, profile["whole_us"]


def kernels() -> str:
    """Vector instructions against plain numba."""
    heads = ["", "species", "n_max, l_max", "plain numba, ms", "vector instructions, ms", "ratio"]
    rows = [
        [
            row["what"],
            str(row["n_species"]),
            f"{row['n_max']}, {row['l_max']}",
            f"{row['plain_ms']:.1f}",
            f"{row['simd_ms']:.1f}",
            ratio(row["ratio"], 2),
        ]
        for row in kept("benchmarks", "simd")["kernels"]
    ]
    return markdown(heads, rows)


def start_times() -> str:
    """CPU seconds of short commands, before and now."""
    both = (kept("benchmarks", name)["commands"] for name in ("start_times_before", "start_times"))
    rows = [
        [f"`{now['command']}`", f"{now['least_s']:.2f}", f"{before['least_s']:.2f}"]
        for before, now in zip(*both, strict=True)
    ]
    return markdown(["command", "CPU seconds", "before"], rows)


def kills() -> str:
    """Killed workers by stage."""
    heads = ["stage", "kills", "recovered", "seconds to recovery, median (longest)"]
    rows = [
        [
            KILLED[row["stage"]],
            str(row["kills"]),
            str(row["recovered"]),
            f"{row['median_s']:.0f} ({row['longest_s']:.0f})",
        ]
        for row in kept("checks", "kill_rockets")["kills"]["stages"]
    ]
    return markdown(heads, rows)


SHOWN_ROUNDS = (10, 100, 300, 500, 700, 1000)


def rockets() -> str:
    """What a firework costs as rounds go by."""
    heads = ["round", "CPU, ms", "commands", "kB", "largest document, kB", "wall time with the stand-in's, ms"]
    rows = [
        [
            thousands(row["round"]),
            *(f"{row[name]:.1f}" for name in ("cpu_ms", "commands", "kB", "largest_kB")),
            f"{row['wall_ms']:.0f}",
        ]
        for row in kept("benchmarks", "flat_rockets")["rounds"]
        if row["round"] in SHOWN_ROUNDS
    ]
    return markdown(heads, rows)


def rockets_grow(figure: str) -> str:
    """A figure of the last round over that of the first."""
    rows = kept("benchmarks", "flat_rockets")["rounds"]
    return f"{rows[-1][figure] / rows[0][figure]:.2f}"


def queries() -> str:
    """The queries that a campaign offers, ms."""
    rows = [
        [row["question"], str(row["rows"]), f"{row['embedded_ms']:.1f}", f"{row['server_ms']:.1f}"]
        for row in kept("benchmarks", "flat_rockets")["queries"]
    ]
    return markdown(["", "rows", "embedded store", "stand-in of MongoDB"], rows)


def vectors() -> str:
    """The tutorial's campaign with all of a processor's vectors, and with shorter ones."""
    heads = ["vectors", "threshold", "substructures", "frames", "energy, meV/atom", "forces, meV/Å"]
    rows, figures = [], json.loads(FIGURES.read_text())
    for name, title in VECTORS.items():
        summary = figures[name]["summary"]
        counts = [str(summary[count]) for count in ("n_substructures", "n_labelled_frames")]
        errors = [" → ".join(first_and_last(summary, kind)) for kind in ("energy", "force")]
        rows.append([title, f"{summary['uncertainty_threshold']:.2f}", *counts, *errors])
    return markdown(heads, rows)


def first_and_last(summary: dict[str, Any], kind: str) -> tuple[str, str]:
    """Mean error of the first and of the last model in the last stage, as the program prints it."""
    unit, decimals = ("meV_per_atom", 2) if kind == "energy" else ("meV_per_A", 0)
    errors = summary["evaluation"][-1]
    first, last = (f"{errors[f'{kind}_mae_{model}_{unit}']:.{decimals}f}" for model in ("first", "last"))
    return first, last
