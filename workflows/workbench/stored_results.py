"""What the pages show of stored results, by name: tables in Markdown, pictures, and single figures as text.

`table("ablation cu")` and `value("ablation energy-over-ours vacuum cu")` are what the page's directive ``{results}`` and its role
``{result}`` call when the documentation is built; the names are the first words, the others are arguments.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench import (
    acceleration_tables,
    ammonia_tables,
    attempt_tables,
    engine_tables,
    floor_tables,
    force_field_tables,
    front_page,
    grain_tables,
    melting_tables,
    million_tables,
    ordering_tables,
    oxide_decline_tables,
    oxide_tables,
    reports,
    surface_tables,
)
from workbench import detection_tables as detection
from workbench import looking_tables as looking
from workbench import measured_tables as measured
from workbench.ablation_figure import errors_figure
from workbench.ablation_tables import (
    campaign_table,
    errors_of,
    having,
    objective_table,
    pair,
    parts_table,
    read_rows,
    read_runs,
    report,
    shell_table,
)
from workbench.markdown import digits, markdown, thousands
from workbench.power_law import frames_law, read
from workbench.scaling_tables import acceleration_table, exponents_table, sizes_table, times_figure
from workbench.systems import SYSTEMS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORKFLOWS = Path(__file__).resolve().parents[1]
ABLATION = WORKFLOWS / "ablation" / "results"
SCALING = WORKFLOWS / "scaling"
BENCHMARKS = WORKFLOWS / "benchmarks" / "results"


def table(name: str) -> str:
    """A table in Markdown.

    Raises
    ------
    KeyError
        If there is no table of this name.
    """
    first, *arguments = name.split()
    return TABLES[first](*arguments)


def value(name: str) -> str:
    """A figure as the text shows it.

    Raises
    ------
    KeyError
        If there is no figure of this name.
    """
    first, *arguments = name.split()
    return VALUES[first](*arguments)


def figure(name: str) -> Figure:
    """A figure, drawn and not saved.

    Raises
    ------
    KeyError
        If there is no figure of this name.
    """
    first, *arguments = name.split()
    return FIGURES[first](*arguments)


@cache
def systems_in(folder: str) -> dict[str, list[dict[str, Any]]]:
    """The ablation's runs in a folder of its results, by system."""
    return read_runs(ABLATION / folder)[0]


@cache
def arms_in(path: str) -> dict[str, dict[str, Any]]:
    """The arms of one run of the ablation."""
    arms: dict[str, dict[str, Any]] = json.loads((ABLATION / f"{path}.json").read_text())["arms"]
    return arms


def median_and_most(values: list[float]) -> str:
    """Median and, in brackets, 90th percentile."""
    median, most = np.quantile(values, [0.5, 0.9])
    return f"{median:.1f} ({most:.1f})"


def factor(number: float) -> str:
    """A ratio of errors: two digits, or whole from ten on."""
    return f"{number:.0f}" if number >= 10 else f"{number:.1f}"


def without_replay() -> str:
    """Errors of arms that go on without the first model's crystals, beside those of the same with them."""
    paths = ("cu-0", "replay-none/cu-0", "former/al2o3-0", "replay-none/al2o3-0")
    runs = [arms_in(path) for path in paths]
    rows = {
        "vacuum": "vacuum crop χ",
        "crop-plain": "plain boxes",
        "crop": "unrelaxed crop χ̃",
        "ides": "substructure χ̃* (ours)",
    }
    heads = ["", "Cu", "the same, no replay", "Al₂O₃", "the same, no replay"]
    lines = [[title, *(pair(arms[arm]) if arm in arms else "–" for arms in runs)] for arm, title in rows.items()]
    for arm, title in (("vacuum", "vacuum"), ("crop-plain", "plain boxes"), ("crop", "unrelaxed")):
        over = [factor(errors_of(a[arm])[0] / errors_of(a["ides"])[0]) if arm in a else "–" for a in runs]
        lines.append([f"{title} over ours, energy", *over])
    return markdown(heads, lines)


def repeated_seed() -> str:
    """Ni₃Al's seed 0, run twice."""
    arms = {"vacuum": "vacuum", "crop": "unrelaxed", "paper": "the paper's", "ides": "ours", "frame": "whole frames"}
    paths = {"`results/former`": "former/ni3al-0", "tables": "ni3al-0"}
    rows = [[name, *(pair(arms_in(path)[arm]) for arm in arms)] for name, path in paths.items()]
    return markdown(["Ni₃Al, seed 0", *arms.values()], rows)


def measured_again() -> str:
    """Arms that were run once more, seed by seed, each beside what it was before."""
    heads = ["", "arm", "errors before", "again", "shell over the frame's", "again", "core, worst", "again"]
    rows = []
    for path in sorted((ABLATION / "again").glob("*.json")):
        for arm, now in arms_in(f"again/{path.stem}").items():
            both = arms_in(path.stem)[arm], now
            cells = [[pair(each) for each in both]]
            if arm == "frame":
                cells += [["–", "–"]] * 2
            else:
                cells += [
                    [median_and_most(each["shell_over_frame"]) for each in both],
                    [f"{max(each['core_worsening']):.1f}" for each in both],
                ]
            rows.append([path.stem.replace("-", ", seed "), now["title"], *(cell for two in cells for cell in two)])
    return markdown(heads, rows)


def second_polycrystal() -> str:
    """Both polycrystals."""
    arms = {"vacuum": "vacuum", "crop": "unrelaxed", "paper": "the paper's", "ides": "ours"}
    lines: list[list[str]] = []
    shells: list[float] = []
    for seed, path in enumerate(("polycrystal-0", "second/polycrystal-1")):
        found = arms_in(path)
        shells += found["ides"]["shell_mean"]
        lines.append(
            [f"seed {seed}", *(pair(found[arm]) for arm in arms), median_and_most(found["ides"]["shell_mean"])]
        )
    lines.append(["both", *("–" for _ in arms), median_and_most(shells)])
    return markdown(["polycrystal", *arms.values(), "shells of ours, median (90 %)"], lines)


def campaign_rows(name: str) -> dict[str, list[dict[str, Any]]]:
    """Shells of one system in a campaign of default settings."""
    return read_rows(ABLATION / "campaign" / f"{name}.json")


def campaigns() -> str:
    """Shells of all systems in a campaign of default settings."""
    return campaign_table({name: campaign_rows(f"{name}-0") for name in SYSTEMS})


def mean_over_seeds(system: str, figure: Callable[[dict[str, dict[str, Any]]], float], arm: str) -> float:
    """Mean of a figure over the seeds of a system that have an arm."""
    return float(np.mean([figure(run["arms"]) for run in having(systems_in(".")[system], arm)]))


def engine_figure(path: str, significant: str = "2") -> str:
    """A figure of the engine's benchmark, by its part and name: `substructure/search_s`."""
    found: Any = measured.engine()
    for name in path.split("/"):
        found = found[name]
    return digits(found, int(significant)) if isinstance(found, float) else thousands(found)


def over_floor() -> str:
    """An atom's time over what its arithmetic would take at the rate of a matrix product."""
    _, floor, whole = measured.profile_sums()
    return f"{whole / floor:.1f}"


def over_ours(arm: str, system: str) -> str:
    """Energy error of an arm over our substructures', mean over seeds."""
    return factor(mean_over_seeds(system, lambda arms: errors_of(arms[arm])[0] / errors_of(arms["ides"])[0], arm))


def over_whole(system: str) -> str:
    """Force error of our substructures over whole frames', mean over seeds."""
    ratio = mean_over_seeds(system, lambda arms: errors_of(arms["ides"])[1] / errors_of(arms["frame"])[1], "ides")
    return f"{ratio:.2f}"


def labelled_share(system: str) -> str:
    """Atoms of our substructures over those of the whole frames, %."""
    n = "n_labelled_atoms"
    return f"{100 * mean_over_seeds(system, lambda arms: arms['ides'][n] / arms['frame'][n], 'ides'):.0f}"


def scaling_lines(name: str) -> list[dict[str, Any]]:
    """What a script of scaling/ measured."""
    return read(SCALING / f"{name}.jsonl")


def learning(system: str) -> str:
    """Ways to learn a campaign's labels, by their errors on crystal, heating and liquid (workflows/benchmarks/learning.py)."""
    ways: dict[str, dict[str, Any]] = json.loads((BENCHMARKS / "learning.json").read_text())[system]
    lines = [
        "| | crystal | heating | liquid | crystal, best | crystal, worst | refused | time, s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for way, found in ways.items():
        errors = [
            f"{found['errors'][part][0]:.2f} \\| {found['errors'][part][1]:.1f}"
            for part in ("crystal", "heating", "liquid")
        ]
        course = [f"{found[key]:.2f}" if key in found else "" for key in ("crystal best", "crystal worst")]
        rest = [str(found.get(key, "")) for key in ("refused attempts", "seconds")]
        lines.append(f"| {' | '.join([way, *errors, *course, *rest])} |")
    return "\n".join(lines)


def pretrained_start() -> str:
    """What shipped weights learned of a dozen cells and forgot of others (workflows/benchmarks/pretrained_start.py)."""
    rows = json.loads((BENCHMARKS / "pretrained_start.json").read_text())["fits"]
    heads = [
        "",
        "energy, meV/atom",
        "forces",
        "forces, four other cells",
        "shift, crystals",
        "shift, set up by hand",
        "CPU, s",
    ]
    names = ("energy", "force", "force_of_others", "shift", "shift_by_hand")
    lines = []
    for weights in dict.fromkeys(row["weights"] for row in rows):
        mine = [row for row in rows if row["weights"] == weights]
        lines.append([f"{weights} as it is", "", f"{mine[0]['force_before']:.1f}", "", "0", "0", "0"])
        lines += [[row["way"], *(f"{row[name]:.1f}" for name in names), f"{row['cpu_s']:.0f}"] for row in mine]
    return markdown(heads, lines)


def parallel_labels() -> dict[str, Any]:
    """What benchmarks/parallel_labels.py measured."""
    found: dict[str, Any] = json.loads((BENCHMARKS / "parallel_labels.json").read_text())
    return found


def parallel_labels_table(way: str) -> str:
    """Wall time and efficiency of labels by numbers of workers; ``way`` is pool, rockets or gpaw."""
    heads = ["workers", "labels", "wall time, s", "efficiency", "start of the workers, s"]
    found = sorted(parallel_labels()[way], key=lambda row: row["workers"])
    loads = all("load" in row for row in found)
    rows = []
    for row in found:
        turns = row.get("efficiencies", [row["efficiency"]])
        several = f" ({min(turns):.2f} to {max(turns):.2f})" if len(turns) > 1 else ""
        rows.append([
            str(row["workers"]), str(row["n_labels"]), f"{row['wall_s']:.1f}", f"{row['efficiency']:.2f}{several}",
            f"{row['start_s']:.1f}", *([f"{row['load']:.1f}"] if loads else []),
        ])  # fmt: skip
    return markdown([*heads, *(["load of the machine"] if loads else [])], rows)


def rocket_costs() -> str:
    """Processor time of a label in a rocket and in the server, as it is and as it might be."""
    rows = [
        [row["way"], f"{row['rocket_ms']:.0f}", f"{row['server_ms']:.0f}"]
        for row in json.loads((BENCHMARKS / "rocket_costs.json").read_text())["ways"]
    ]
    return markdown(["", "rocket, ms", "server, ms"], rows)


def rocket_cost(name: str) -> str:
    """Milliseconds of a label in the ``rocket`` or in the ``server``, as it is."""
    way = json.loads((BENCHMARKS / "rocket_costs.json").read_text())["ways"][0]
    return f"{way[f'{name}_ms']:.0f}"


def learning_curve() -> str:
    """Errors on liquid silicon by number of cells learned, for several widths of the built-in force field."""
    rows: list[dict[str, Any]] = json.loads((BENCHMARKS / "learning_curve.json").read_text())["rows"]
    sizes = sorted({row["cells"] for row in rows})
    lines = []
    for model in dict.fromkeys(row["model"] for row in rows):
        mine = {row["cells"]: row for row in rows if row["model"] == model}
        cost = np.median([row["us_per_atom"] for row in mine.values()])
        errors = [
            f"{mine[size]['energy_meV']:.2f} \\| {mine[size]['force_meV_A']:.1f}" if size in mine else ""
            for size in sizes
        ]
        lines.append([model, *errors, f"{cost:.0f}"])
    return markdown(["", *(f"{size} cells" for size in sizes), "µs an atom"], lines)


def stage_shares_table() -> str:
    """Shares of the demo's time and errors at its end, as it is and with less training."""
    heads = ["", "segments", "crops", "relaxations", "updates", "consolidations", "labels", "meV/atom", "meV/Å"]
    stages = ("segment", "crop", "relaxation", "update", "consolidation")
    rows = [
        [
            way,
            *(f"{100 * row['shares'][stage]:.0f} %" for stage in stages),
            str(row["n_labels"]),
            f"{row['energy_meV']:.2f}",
            f"{row['force_meV_A']:.1f}",
        ]
        for way, row in json.loads((BENCHMARKS / "stage_shares.json").read_text())["ways"].items()
    ]
    return markdown(heads, rows)


def plane_waves(part: str, size: str) -> str:
    """The campaign (`chain`) of lithium that was labelled by GPAW, its errors (`errors`), or its k-points (`points`)."""
    found = front_page.stored("li_gpaw", size)
    if part == "points":
        rows = [
            [row["cell"], str(row["n_atoms"]), "×".join(map(str, row["grid"])), f"{row['off_meV']:+.1f}"]
            for row in found["points"]
        ]
        return markdown(["k-points of", "atoms", "grid", "perfect crystal, meV/atom off"], rows)
    return melting_tables.chain(found["ancestry"]) if part == "chain" else melting_tables.errors(found["errors"])


TABLES: dict[str, Callable[..., str]] = {
    "learning": learning,
    "pretrained-start": pretrained_start,
    "ablation": lambda system: report(systems_in(".")[system]),
    "objectives": lambda folder=".": objective_table(systems_in(folder)),
    "without-replay": without_replay,
    "repeated-seed": repeated_seed,
    "measured-again": measured_again,
    "second-polycrystal": second_polycrystal,
    "shells": lambda system: shell_table(json.loads((ABLATION / "substructures" / f"{system}-0.json").read_text())),
    "campaigns": campaigns,
    "campaign-parts": lambda system: parts_table(campaign_rows(f"{system}-0")),
    "detected": detection.detected,
    "detected-areas": detection.areas,
    "phase-chain": detection.chain,
    "threshold": measured.threshold,
    "threshold-errors": measured.threshold_errors,
    "volumes": measured.volumes,
    "rattled": measured.rattled,
    "minority": measured.minority,
    "coverage": measured.coverage,
    "plane-waves": measured.plane_waves,
    "engine-values": engine_tables.values,
    "engine-gradients": engine_tables.cell_gradients,
    "engine-bases": engine_tables.bases,
    "engine-bases-floor": floor_tables.bases,
    "engine-basis-gradients": engine_tables.gradients,
    "engine-threads": engine_tables.threads,
    "other-descriptors": engine_tables.others,
    "compressed-alloy": engine_tables.compressed_alloy,
    "compressed-coverage": engine_tables.compressed_coverage,
    "many-species": measured.many_species,
    "mixture-cost": measured.mixture_cost,
    "engine-scale": measured.engine_scale,
    "engine-coverage": measured.engine_coverage,
    "engine-profile": measured.engine_profile,
    "kernels": measured.kernels,
    "start-times": measured.start_times,
    "surfaces": surface_tables.surfaces,
    "substructure-seconds": surface_tables.seconds,
    "li-melting": lambda part, size: melting_tables.TABLES[part](size),
    "alumina": lambda part, size: oxide_tables.TABLES[part](size),
    "alumina-labels": lambda part: oxide_decline_tables.TABLES[part](),
    "cuau-order": lambda part, size: ordering_tables.TABLES[part](size),
    "li-polycrystal": lambda part, size: grain_tables.TABLES[part](size),
    "haber-bosch": lambda part, size: ammonia_tables.TABLES[part](size),
    "li-gpaw": plane_waves,
    "acceleration": lambda part: acceleration_tables.TABLES[part](),
    "reports": reports.summaries,
    "kills": measured.kills,
    "report-page": looking.report_page,
    "watch-delay": looking.watch_delay,
    "vasp-inputs": looking.vasp_inputs,
    "rockets": measured.rockets,
    "queries": measured.queries,
    "vectors": measured.vectors,
    "parallel-labels": parallel_labels_table,
    "rocket-costs": rocket_costs,
    "attempts": lambda part: attempt_tables.TABLES[part](),
    "update-floor": floor_tables.updates,
    "update-parts": floor_tables.update_parts,
    "stage-shares": stage_shares_table,
    "learning-curve": learning_curve,
    "million-parts": million_tables.million_parts,
    "million-rounds": million_tables.million_rounds,
    "million-sizes": million_tables.million_sizes,
    "md-speed": force_field_tables.md_speed,
    "force-fields": force_field_tables.force_fields,
    "drifts": force_field_tables.drifts,
    "kit-costs": force_field_tables.kit_costs,
    "core-radius": force_field_tables.core_radius,
    "learning-before": force_field_tables.learning_before,
    "learning-seeds": force_field_tables.learning_seeds,
    "learning-demo": force_field_tables.learning_demo,
    "short-campaigns": force_field_tables.short_campaigns,
    "parts-of-frames": force_field_tables.parts_of_frames,
    "scaling-sizes": lambda: sizes_table(scaling_lines("frames")),
    "scaling-exponents": lambda: exponents_table(scaling_lines("frames")),
    "scaling-acceleration": lambda per_frame: acceleration_table(
        scaling_lines("frames"), scaling_lines("substructures"), float(per_frame)
    ),
}

FIGURES: dict[str, Callable[..., Figure]] = {
    "surface-cells": surface_tables.cells_figure,
    "scaling-times": lambda: times_figure(scaling_lines("frames"), scaling_lines("substructures")),
    "ablation-errors": lambda: errors_figure(systems_in(".")),
    "li-melting": lambda part, size: melting_tables.FIGURES[part](size),
    "alumina": lambda part, size: oxide_tables.FIGURES[part](size),
    "cuau-order": lambda part, size: ordering_tables.FIGURES[part](size),
    "li-polycrystal": lambda part, size: grain_tables.FIGURES[part](size),
    "haber-bosch": lambda part, size: ammonia_tables.FIGURES[part](size),
    "acceleration": lambda part: acceleration_tables.FIGURES[part](),
}

VALUES: dict[str, Callable[..., str]] = {
    "li-melting": lambda part, size: melting_tables.VALUES[part](size),
    "alumina": lambda part, size: oxide_tables.VALUES[part](size),
    "cuau-order": ordering_tables.value,
    "li-polycrystal": grain_tables.value,
    "haber-bosch": ammonia_tables.value,
    "report-page": lambda part, name: digits(measured.kept("benchmarks", "report_page")[part][name], 2),
    "watch-delay": lambda name: digits(measured.kept("benchmarks", "watch_delay")["delay"][name], 2),
    "compressed-area": engine_tables.area,
    "gradient-over-dscribe": engine_tables.at_n,
    "md-at-cutoff": lambda which, name: digits(measured.kept("benchmarks", "md_speed")["cutoffs"][int(which)][name], 2),
    "core-radius": force_field_tables.core_radius_ratio,
    "engine": engine_figure,
    "engine-floor": lambda: f"{measured.profile_sums()[1]:.1f}",
    "engine-over-floor": over_floor,
    "times-floor": floor_tables.over_floor,
    "bytes-share": floor_tables.bytes_share,
    "distances-alone": floor_tables.distances,
    "killed": lambda part, figure: str(measured.kept("checks", "kill_rockets")[part][figure]),
    "rockets-grow": measured.rockets_grow,
    "over-ours": over_ours,
    "over-whole": over_whole,
    "labelled-share": labelled_share,
    "errors": lambda path, arm: pair(arms_in(path)[arm]),
    "shell": lambda path, arm: median_and_most(arms_in(path)[arm]["shell_mean"]),
    "campaign-shell": lambda name: median_and_most([one["shell_mean"] for one in campaign_rows(name)["substructure"]]),
    "campaign-centres": lambda name: f"{len(campaign_rows(name)['substructure']):,}".replace(",", " "),
    "acceleration-efficiency": acceleration_tables.efficiency,
    "learning-curve-force": lambda: (
        f"{json.loads((BENCHMARKS / 'learning_curve.json').read_text())['mean_force_meV_A']:.0f}"
    ),
    "rocket-cost": rocket_cost,
    "many-species": measured.many_species_figure,
    "attempt": attempt_tables.figure,
    "update-over-floor": floor_tables.update_over_floor,
    "parallel-labels": lambda _: str(parallel_labels()["pool"][0]["n_labels"]),
    "scaling-exponent": lambda smallest: f"{frames_law(scaling_lines('frames'), int(smallest)).exponent:.1f}",
    "million": million_tables.million,
    "million-cpu": million_tables.million_figure,
    "scaling-t-sub": lambda: f"{np.mean([entry['label_core_s'] for entry in scaling_lines('substructures')]):.0f}",
}
