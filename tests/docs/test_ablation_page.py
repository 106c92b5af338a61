"""The tables of the ablation's page are those of the stored results, to the digit."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from idealflow.core import screen

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "workflows" / "ablation"
RESULTS = WORKFLOW / "results"
PAGE = (ROOT / "docs" / "explanation" / "ablation.md").read_text()


def script(name):
    sys.path.insert(0, str(WORKFLOW))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(WORKFLOW))


@pytest.fixture(scope="module")
def tables():
    return script("tables")


@pytest.fixture(scope="module")
def substructures():
    return script("substructures")


@pytest.fixture(scope="module")
def campaign():
    return script("campaign")


def test_scripts_leave_the_environment_alone():
    """Imported, that is: numba reads its number of threads again at each compilation, and fails if it has changed."""
    clean = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    scripts = "ablate, campaign, floor, substructures, tables"
    program = f"import os, {scripts}; print(sorted(n for n in os.environ if 'NUM_THREADS' in n))"
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, cwd=WORKFLOW, env=clean, capture_output=True, text=True, check=False)
    assert (run.stdout, run.returncode) == ("[]\n", 0), run.stderr


@pytest.mark.parametrize("name", ["cu", "ni3al", "polycrystal", "particle", "al2o3"])
def test_tables_by_system(tables, name):
    systems, lacking = tables.read_runs(RESULTS)
    assert not lacking
    heading = f"## {systems[name][0]['title']}\n\n{tables.report(systems[name])}\n"
    assert heading in PAGE


@pytest.mark.parametrize("folder", [".", "former"])
def test_tables_of_objectives(tables, folder):
    systems, _ = tables.read_runs(RESULTS / folder)
    assert f"\n{tables.objective_table(systems)}\n" in PAGE


def test_errors_without_replay(tables):
    paths = ["cu-0.json", "replay-none/cu-0.json", "former/al2o3-0.json", "replay-none/al2o3-0.json"]
    runs = [json.loads((RESULTS / path).read_text())["arms"] for path in paths]
    for arm, title, ratio in (
        ("vacuum", "vacuum crop χ", "vacuum"),
        ("crop-plain", "plain boxes", "plain boxes"),
        ("crop", "unrelaxed crop χ̃", "unrelaxed"),
    ):
        row = " | ".join(tables.pair(arms[arm]) if arm in arms else "–" for arms in runs)
        assert f"| {title} | {row} |\n" in PAGE
        over = [tables.errors_of(a[arm])[0] / tables.errors_of(a["ides"])[0] if arm in a else None for a in runs]
        row = " | ".join("–" if one is None else f"{one:.0f}" if one >= 10 else f"{one:.1f}" for one in over)
        assert f"| {ratio} over ours, energy | {row} |\n" in PAGE
    row = " | ".join(tables.pair(arms["ides"]) for arms in runs)
    assert f"| substructure χ̃* (ours) | {row} |\n" in PAGE


@pytest.mark.parametrize("folder", [".", "former"])
def test_the_repeated_seed(tables, folder):
    arms = json.loads((RESULTS / folder / "ni3al-0.json").read_text())["arms"]
    row = " | ".join(tables.pair(arms[arm]) for arm in ("vacuum", "crop", "paper", "ides", "frame"))
    assert f" | {row} |\n" in PAGE


def test_core_alone(tables):
    arms = json.loads((RESULTS / "join-core" / "ni3al-0.json").read_text())["arms"]
    assert f"on Ni₃Al the core alone gives {tables.pair(arms['ides'])} against" in PAGE


def test_more_steps(tables):
    arms = json.loads((RESULTS / "more-steps" / "ni3al-0.json").read_text())["arms"]
    assert f"ours has {tables.pair(arms['ides'])} there" in PAGE


def test_the_second_polycrystal(tables):
    shells = {}
    for seed, path in enumerate(["polycrystal-0.json", "second/polycrystal-1.json"]):
        arms = json.loads((RESULTS / path).read_text())["arms"]
        row = " | ".join(tables.pair(arms[arm]) for arm in ("vacuum", "crop", "paper", "ides"))
        shells[f"| seed {seed} | {row}"] = arms["ides"]["shell_mean"]
    shells["| both | – | – | – | –"] = np.concatenate(list(shells.values()))
    for start, values in shells.items():
        median, nearly_all = np.quantile(values, [0.5, 0.9])
        assert f"{start} | {median:.1f} ({nearly_all:.1f}) |\n" in PAGE


@pytest.mark.parametrize("name", ["cu", "ni3al", "al2o3", "particle", "polycrystal"])
def test_how_known_shells_become(substructures, name):
    rows = json.loads((RESULTS / "substructures" / f"{name}-0.json").read_text())
    assert f"\n{substructures.table(rows)}\n" in PAGE


def test_a_frame_is_screened_until_nothing_in_it_is_new(campaign, tmp_path):
    soap = {"r_cut": 3.2, "n_max": 4, "l_max": 4, "sigma": 0.4}
    system = replace(campaign.SYSTEMS["cu"], soap=soap)
    u = campaign.first_distribution(system, system.known(np.random.default_rng(0)))
    frame = system.start(0)
    frame.rattle(0.15, seed=1)
    frame.info = {"step": 10, "temperature": 300.0}
    assert len(screen(u, frame, u.auto_threshold())) > campaign.MAX_CENTRES
    threshold = u.auto_threshold()
    rows = campaign.campaign(system, u, [frame], 0)
    assert not len(screen(u, frame, threshold))
    met = rows["substructure"]
    assert len(met) == len(rows["crop"]) > campaign.MAX_CENTRES
    assert all(one["centre_change"] < 1e-9 and one["core_worsening"] <= 2.0 for one in met)
    assert all(one["shell_mean"] <= before["shell_mean"] for one, before in zip(met, rows["crop"], strict=True))
    campaign.save(rows, tmp_path / "rows.json")
    again = campaign.load(tmp_path / "rows.json")
    for name, found in rows.items():
        for one, read in zip(found, again[name], strict=True):
            assert read.pop("note") == one.pop("note")
            assert read == pytest.approx(one, rel=1e-4)
    assert campaign.parts_table(rows).endswith(f"| 0–500 | 300–300 | {len(met)} " + shells(met))


def shells(met):
    values = [one["shell_mean"] for one in met]
    return f"| {np.median(values):.2f} | {np.quantile(values, 0.9):.2f} |"


def test_shells_in_a_campaign(campaign):
    runs = {
        name: campaign.load(RESULTS / "campaign" / f"{name}-0.json")
        for name in ("cu", "ni3al", "polycrystal", "particle", "al2o3")
    }
    assert f"\n{campaign.summary(runs)}\n" in PAGE
    assert f"\n{campaign.parts_table(runs['ni3al'])}\n" in PAGE
    said = []
    for name in ("cu", "ni3al", "al2o3"):
        median, nearly_all = np.quantile([one["shell_mean"] for one in runs[name]["substructure"]], [0.5, 0.9])
        said.append(f"{median:.1f} ({nearly_all:.1f})")
    assert "Cu, Ni₃Al and Al₂O₃ end at {}, {} and {}, median and 90 %".format(*said) in PAGE
    alone = campaign.load(RESULTS / "campaign" / "one-at-a-time" / "polycrystal-0.json")["substructure"]
    median, nearly_all = np.quantile([one["shell_mean"] for one in alone], [0.5, 0.9])
    assert f"centres, {len(alone)}, end at {median:.1f} ({nearly_all:.1f})" in PAGE
    # the goals: 2 and 3, beside surfaces 5 and 10, the core's 2, the centre's 1 %, 5 s for up to 150 atoms
    for name, found in ((name, run["substructure"]) for name, run in runs.items()):
        median, nearly_all = np.quantile([one["shell_mean"] for one in found], [0.5, 0.9])
        assert median <= 2.0 or name == "particle"
        assert nearly_all <= 3.0 or name == "polycrystal"
        assert max(one["core_worsening"] for one in found) <= 2.0
        assert max(one["centre_change"] for one in found) < 0.01
        assert np.mean([one["seconds"] for one in found]) < 5.0


def test_ratios_in_the_text(tables):
    systems, _ = tables.read_runs(RESULTS)
    names = ("cu", "ni3al", "polycrystal", "particle", "al2o3")
    over = {name: arms_over(tables, systems[name]) for name in names}
    text = " ".join(PAGE.split())
    vacuum = [over[name]["vacuum"][0] for name in names]
    said = [f"{one:.0f}" if one >= 10 else f"{one:.1f}" for one in vacuum]
    assert (
        "energy errors are {} (Cu), {} (Ni₃Al), {} (polycrystal), {} (particle) and {} (Al₂O₃) times".format(*said)
        in text
    )
    said = [f"{over[name]['paper'][0]:.1f}" for name in names]
    assert "{} (Cu), {} (Ni₃Al), {} (polycrystal), {} (particle) and {} times (Al₂O₃) our error".format(*said) in text
    said = [f"{over[name]['ides'][1]:.2f}" for name in names]
    said += [f"{100 * over[name]['ides'][2]:.0f}" for name in names]
    assert (
        "at {} (Cu), {} (Ni₃Al), {} (polycrystal), {} (particle) and {} (Al₂O₃) times the error of whole frames, "
        "with {}, {}, {}, {} and {} % of their labelled atoms".format(*said)
        in text
    )


def arms_over(tables, runs):
    """Of each arm the energy error over ours, the force error over the frames', and its part of their atoms; means of seeds."""
    ratios = {}
    for name in runs[0]["arms"]:
        rows = []
        for run in tables.having(runs, name):
            energy, force = tables.errors_of(run["arms"][name])
            ours, whole = tables.errors_of(run["arms"]["ides"]), tables.errors_of(run["arms"]["frame"])
            atoms = run["arms"][name]["n_labelled_atoms"] / run["arms"]["frame"]["n_labelled_atoms"]
            rows.append((energy / ours[0], force / whole[1], atoms))
        ratios[name] = np.mean(rows, axis=0)
    return ratios
