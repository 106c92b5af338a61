"""The tables of the ablation's page are those of the stored results, to the digit."""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
WORKFLOW = ROOT / "workflows" / "ablation"
RESULTS = WORKFLOW / "results"
BEFORE = set(os.environ)  # names set before a script is imported
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


def test_scripts_leave_the_environment_alone(tables, substructures):
    """Another test of this process compiles kernels, and numba reads its number of threads again each time."""
    assert not {"OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"} & (os.environ.keys() - BEFORE)


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


@pytest.mark.parametrize("name", ["cu", "al2o3"])
def test_errors_without_replay(tables, name):
    arms = json.loads((RESULTS / "replay-none" / f"{name}-0.json").read_text())["arms"]
    for arm in ("vacuum", "crop-plain", "crop", "ides"):
        assert f"| {tables.pair(arms[arm])} |" in PAGE


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
