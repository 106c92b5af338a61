"""Why hot alumina goes on asking for labels, and what ends it.

    python workflows/al2o3/decline.py [--folder al2o3-gaussian/bulk] [--parts ...]

From a campaign of the bulk that began with strained and rattled crystals alone (`gaussian/bulk.yaml`): what was known of
each label and how wrong the model was there (`labels`); how new and how wrong the liquid is to the campaign's models one after
another (`models`); what a model learns from the first labels, from the last ones and from as many plain frames (`curve`); and how
new the same liquid is to other first sets of small cells (`firsts`). `after` runs 810 atoms by the mixture, beginning with
crystals and with what the small cell of `quick/cells.yaml` has learned. Writes `results/decline.json`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms

from idealflow.core import SOAP, Uncertainty, UncertaintyModel
from idealflow.core.coverage import COVER_RADIUS, REACH
from idealflow.core.structure import set_label
from idealflow.forcefields import get_force_field, load_force_field
from idealflow.provenance import Campaign
from idealflow.workflow.learner.version import load_uncertainty_artifact
from idealflow.workflow.stages.evaluation import evenly
from workbench.keeping import add_out, keep
from workbench.matsui import Matsui
from workbench.melting import errors, run_chain
from workbench.oxides import cells, opened
from workbench.threads import one_thread

HERE = Path(__file__).parent
AFTER = ("after_labels", "after_errors")
CRYSTAL = 100  # steps of 810 atoms at 200 K
HOT = 800  # steps after which the bulk is a liquid
EDGES = (0.0, 1.0, 2.0, 4.0, 8.0)
LARGEST = 150.0  # eV/Å; a cell with larger forces, of atoms nearly on one another, spoils the fit
STEPS, RATE = 2000, 2e-3  # of a training that learns all data together

Rows = list[dict[str, Any]]


def labelled(atoms: Atoms) -> Atoms:
    """The structure with the reference's label."""
    whole = atoms.copy()
    whole.calc = Matsui()
    return set_label(atoms.copy(), whole.get_potential_energy(), forces=whole.get_forces(), stress=whole.get_stress())


def force_errors(model: Any, frames: Sequence[Atoms]) -> Any:
    """Length of the error of each atom's force, eV/Å, of all frames."""
    calculator, found = model.calculator(), []
    for atoms in frames:
        moved = atoms.copy()
        moved.calc = calculator
        found.append(np.linalg.norm(moved.get_forces() - atoms.get_forces(), axis=1))
    return np.concatenate(found)


def by_label(campaign: Campaign, learners: dict[int, Any]) -> Rows:
    """Each label: novelty and error of its centre before and after it was learned, error of its cell, the nearest one before.

    Of the centres of its species labelled before: ``nearest`` is the least δ over the centre's own uncertainty, which is its
    distance from the mean; ``reach`` the least δ over how far the earlier one covers, so that up to 1 it would be covered.
    """
    documents = {doc.request_key: doc for doc in campaign.substructures(state="accepted")}
    before: list[tuple[str, Atoms, int]] = []
    rows: Rows = []
    threshold = _uncertainty(campaign, learners[0]).auto_threshold()
    for update in campaign.updates():
        if not update.accepted:
            continue
        u = _uncertainty(campaign, learners[update.version_before])
        models = [_model(campaign, learners[n]) for n in (update.version_before, update.version_after)]
        met = []
        for key in update.accepted:
            doc, cell = documents[key], campaign.labelled(documents[key])
            centre = doc.centre_of_cell
            wrong = [force_errors(model, [cell]) for model in models]
            here = u.fingerprints(cell, [centre])[0]
            apart, covers = [], []
            for species, atoms, place in before:
                if species == doc.species:
                    apart.append(float(((u.fingerprints(atoms, [place])[0] - here) ** 2).sum()))
                    covers.append(min(COVER_RADIUS * threshold, REACH * float(u(atoms, [place])[0])))
            rows.append(
                {
                    "step": doc.step,
                    "species": doc.species,
                    "uncertainty": doc.uncertainty,
                    "centre_before": wrong[0][centre],
                    "centre_after": wrong[1][centre],
                    "cell_before": wrong[0].mean(),
                    "cell_after": wrong[1].mean(),
                    "nearest": min(apart) / doc.uncertainty if apart else None,
                    "reach": float(np.min(np.divide(apart, covers))) if apart else None,
                }
            )
            met.append((doc.species, cell, centre))
        before += met
    return rows


def by_model(campaign: Campaign, learners: dict[int, Any], frames: Sequence[Atoms]) -> Rows:
    """How new and how wrong the same frames of the liquid are to every third model."""
    threshold = _uncertainty(campaign, learners[0]).auto_threshold()
    n_labels = {0: 0}
    for update in campaign.updates():
        n_labels[update.version_after] = max(n_labels.values()) + len(update.learned)
    rows: Rows = []
    for version in [n for n in sorted(learners) if n % 3 == 0]:
        u = _uncertainty(campaign, learners[version])
        values = np.concatenate([u(atoms) for atoms in frames])
        wrong = force_errors(_model(campaign, learners[version]), frames)
        known = max(n for n in n_labels if n <= version)
        rows.append(
            {"version": version, "n_labels": n_labels[known], "threshold": threshold, "auto": u.auto_threshold()}
            | _figures(values, wrong, threshold)
        )
    return rows


def learning_curve(campaign: Campaign, frames: Sequence[Atoms], plain: Sequence[Atoms]) -> Rows:
    """Errors in the liquid of the first model after it has learned some labels, or plain frames, with its first set."""
    first = [atoms for atoms in campaign.dataset() if atoms.info["origin"] == "bootstrap"]
    own = campaign.dataset(bootstrap=False)
    sets = {f"first {n} labels": own[:n] for n in (2, 4, 8, 16, len(own))}
    sets |= {"last 8 labels": own[-8:], "8 plain frames": [plain[i] for i in evenly(8, len(plain))]}
    rows: Rows = []
    for name, more in sets.items():
        model: Any = campaign.model(0)
        model.consolidate([*first, *more], steps=STEPS, lr=RATE, seed=1)
        wrong = force_errors(model, frames)
        rows.append({"learned": name, "n": len(more), "mean": wrong.mean(), "p99": float(np.quantile(wrong, 0.99))})
        print(rows[-1], flush=True)
    return rows


def first_sets(campaign: Campaign, small: Campaign | None, frames: Sequence[Atoms]) -> Rows:
    """How new and how wrong the liquid is to models fitted to other first sets of cells of 30 atoms."""
    first = [atoms for atoms in campaign.dataset() if atoms.info["origin"] == "bootstrap"]
    rng = np.random.default_rng(0)
    far = []
    for cell in first:
        moved = cell.copy()
        moved.positions += rng.normal(size=(len(moved), 3)) * rng.uniform(0.2, 0.6)
        found = labelled(moved)
        if np.abs(found.get_forces()).max() < LARGEST:
            far.append(found)
    sets = {"crystals, rattled by up to 0.2 Å": first, "and by up to 0.6 Å": [*first, *far]}
    if small is not None:
        sets["and what the campaign `cells` labelled"] = [*first, *small.dataset(bootstrap=False)]
    rows: Rows = []
    for name, data in sets.items():
        u = UncertaintyModel.fit(data, SOAP(["Al", "O"], r_cut=4.0, n_max=6, l_max=6, sigma=0.4))
        model = get_force_field("local", species=["Al", "O"], cutoff=5.4)
        model.fit(data, seed=0)
        values, wrong = np.concatenate([u(atoms) for atoms in frames]), force_errors(model, frames)
        threshold = u.auto_threshold()
        rows.append({"set": name, "n": len(data), "threshold": threshold} | _figures(values, wrong, threshold))
        print(rows[-1], flush=True)
    return rows


def at_full_size(folder: Path, small: Path, steps: int, begun: Sequence[str], out: Path) -> dict[str, Rows]:
    """Labels and errors of 810 atoms put to 9 000 K by the mixture, begun with crystals or after the small cell.

    Rows in ``out`` of what is not begun now stay.
    """
    before = json.loads(out.read_text()) if out.exists() else {}
    labels, wrong = ([row for row in before.get(part, []) if row["began"] not in begun] for part in AFTER)
    for start in begun:
        chain = run_chain([_config(folder, start, steps, small if start == "cells" else None)], folder)
        mine, about = chain[-1].name, {"began": start, "hot_from": CRYSTAL, "steps": CRYSTAL + steps}
        asked = [row for row in cells(chain) if row["campaign"] == mine]
        labels.append(about | {"at": [row["step"] for row in asked], "atoms": [row["Al"] + row["O"] for row in asked]})
        found = [row for row in errors(chain, folder, 20) if (row["campaign"], row["stage"]) == (mine, 1)]
        wrong += [row | about for row in found]
    return dict(zip(AFTER, (labels, wrong), strict=True))


def _config(folder: Path, start: str, steps: int, small: Path | None) -> Path:
    """A config of the bulk at full size, written into the folder."""
    config = yaml.safe_load((HERE / "mixture" / "bulk.yaml").read_text())
    config["campaign"] = f"al2o3-810-{start}"
    if small is not None:
        config["bootstrap"] = {"campaign": str(small.absolute())}
    config["structure"]["repeat"] = [3, 3, 3]
    holds = ((200, CRYSTAL), (9000, steps))
    config["segment"]["schedule"] = [{"kind": "hold", "temperature": t, "steps": n} for t, n in holds]
    config["evaluation"] = {"n_frames": 0}
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{start}.yaml"
    if not file.exists():
        file.write_text(yaml.safe_dump(config))
    return file


def _figures(values: Any, wrong: Any, threshold: float) -> dict[str, Any]:
    """Mean novelty and error, the share above the threshold, and mean errors by uncertainty."""
    edges = [*EDGES, threshold, np.inf]
    bins = []
    for low, high in pairwise(edges):
        mine = wrong[(values >= low) & (values < high)]
        bins.append({"from": low, "n": len(mine), "error": float(mine.mean()) if len(mine) else None})
    return {
        "u": float(values.mean()),
        "above": float((values > threshold).mean()),
        "error": float(wrong.mean()),
        "p99": float(np.quantile(wrong, 0.99)),
        "bins": bins,
    }


def _uncertainty(campaign: Campaign, learner: Any) -> Uncertainty:
    return load_uncertainty_artifact(campaign.artifacts, learner)


def _model(campaign: Campaign, learner: Any) -> Any:
    return load_force_field(campaign.fetch(learner.force_field))


def main() -> None:
    """Measure the parts that were asked for, and keep each."""
    parts = ("labels", "models", "curve", "firsts", "after")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--folder", type=Path, default=Path("al2o3-gaussian/bulk"), help="the campaign that began with crystals"
    )
    parser.add_argument("--cells", type=Path, default=Path("al2o3-cells"), help="the campaign of `cells.yaml`")
    parser.add_argument("--small", type=Path, default=Path("al2o3-quick/cells"), help="that of `quick/cells.yaml`")
    parser.add_argument("--begun", nargs="+", choices=("cells", "crystals"), default=("cells", "crystals"))
    parser.add_argument("--runs", type=Path, default=Path("al2o3-810"), help="where 810 atoms are run")
    parser.add_argument("--steps", type=int, default=400, help="steps of 810 atoms at 9 000 K")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts)
    add_out(parser)
    arguments = parser.parse_args()
    one_thread()
    campaign, last = opened(arguments.folder)
    learners = campaign.learners() | {last.version: last}
    hot = [atoms for atoms in campaign.trajectory() if atoms.info["step"] > HOT]
    frames = [labelled(atoms) for atoms in hot[::4]]
    out = arguments.out or HERE / "results" / "decline.json"
    measures = {
        "labels": lambda: {"labels": by_label(campaign, learners)},
        "models": lambda: {"models": by_model(campaign, learners, frames)},
        "curve": lambda: {"curve": learning_curve(campaign, frames, [labelled(atoms) for atoms in hot[2::4]])},
        "firsts": lambda: {"firsts": first_sets(campaign, Campaign.open(arguments.cells), frames)},
        "after": lambda: at_full_size(arguments.runs, arguments.small, arguments.steps, arguments.begun, out),
    }
    for part in arguments.parts:
        print(part, flush=True)
        keep(out, **measures[part]())


if __name__ == "__main__":
    main()
