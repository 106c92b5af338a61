"""The campaign's table: t_sub, t_entire, L, R_AL, as measured, and what is a fit named as one.

    python workflows/li_gpaw/table.py DIR

DIR is what `idealflow run workflows/li_gpaw/li-gpaw.yaml --out DIR` wrote, or the same with li-vacancy.yaml.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from idealflow import Campaign
from idealflow.analysis import acceleration
from workbench.power_law import frames_law, read

SCALING = Path(__file__).parent.parent / "scaling"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--frames", type=Path, default=SCALING / "frames.jsonl")
    arguments = parser.parse_args()
    campaign = Campaign.open(arguments.directory)
    state = campaign.state()
    if state is None:
        raise SystemExit(f"{arguments.directory} holds no state of a campaign; run it first")
    docs = campaign.substructures(state="accepted")
    seconds = np.array([doc.core_seconds for doc in docs])
    sizes = np.array([doc.n_atoms for doc in docs])
    steps = sum(walker.step for walker in state.walkers)
    print(f"{state.n_atoms} atoms, {steps} MD steps, status {state.status}: {state.reason}")
    print(f"labels: {campaign.state().label_method}; {len(campaign.labels(origin='bootstrap'))} for the first model")
    print(f"substructures: {len(docs)} accepted, {state.n_failed_labels} failed, {sizes.min()}–{sizes.max()} atoms")
    print(
        f"t_sub = {seconds.mean():.0f} core-seconds (measured; median {np.median(seconds):.0f}, largest {seconds.max():.0f})"
    )

    rows = []
    whole = campaign.labels(origin="evaluation", state="accepted")
    if whole:
        rows.append(("measured", float(np.mean([doc.core_seconds for doc in whole]))))
    if arguments.frames.exists():
        law = frames_law(read(arguments.frames))
        error = np.exp(law.relative_error(state.n_atoms))
        name = f"fit of workflows/scaling, exponent {law.exponent:.2f} ± {law.exponent_error:.2f}, ×/÷ {error:.2f}"
        rows.append((name, law(state.n_atoms)))
    for name, t_entire in rows:
        gain = acceleration(
            t_sub=float(seconds.mean()),
            t_entire=t_entire,
            n_steps=steps,
            n_labelled_frames=state.n_labelled_frames,
            n_substructures=state.n_substructures,
        )
        print(
            f"t_entire = {t_entire:.0f} core-seconds ({name}): L = {gain.L:.2f}, R_AL = {gain.R_AL:.1f}, "
            f"R_FPMD = {gain.R_FPMD:.0f}"
        )
    for update in campaign.updates():
        if update.new_before is not None and update.new_after is not None:
            print(
                f"round {update.round}: forces of {len(update.accepted)} new labels {update.new_before.forces:.3f} → "
                f"{update.new_after.forces:.3f} eV/Å"
            )


if __name__ == "__main__":
    main()
