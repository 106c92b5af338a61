"""The ablation: what must be labelled around an uncertain atom for the model to get the whole frame right.

    python workflows/ablation/ablate.py [--systems cu ni3al ...] [--seeds 0 1 2] [--arms ...] [--out ablation]

For every system and seed: a run of molecular dynamics on the reference (EMT stands in for DFT for the metals, Matsui's
rigid-ion model for Al2O3); a first model that knows small perfect crystals;
centres where a campaign would meet them, at most two in each frame of one half of the run; per arm (workbench/arms.py)
the structures around the same centres, labelled by the reference, learned from the same first model to convergence
(workbench/training.py); errors on a hundred other frames of the run, whole. Writes OUT/SYSTEM-SEED.json, after each arm, and
the labelled structures beside it; arms that are there are skipped, so a run that was cut off goes on and
arms can be added later. Then
``tables.py OUT`` makes the tables and figures. Exit status 1 if an arm did not converge.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write

from workbench.arms import ARMS, Place, campaign_places, first_distribution
from workbench.runs import first_model, frames_of, learning_frames, say
from workbench.systems import SYSTEMS, System
from workbench.threads import one_thread
from workbench.training import Trained, core_force_error, frame_errors, train

MAIN = ["vacuum", "crop", "paper", "ides", "frame"]


def ablate(system: System, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """Run the arms of one system with one seed that are not there yet; returns plain data, and keeps it in a file.

    Raises
    ------
    SystemExit
        If the file there was made from other centres or with another replay.
    """
    out: Path = args.out
    path = out / f"{system.name}-{seed}.json"
    there = json.loads(path.read_text()) if path.exists() else None
    arms = [arm for arm in args.arms if there is None or arm not in there["arms"]]
    if there is not None and not arms:
        say(f"{system.name} seed {seed}: there already")
        return there
    say(f"{system.name} seed {seed}: run of the reference ({system.reference})")
    frames = frames_of(system, seed, out, args.asap)
    testing = frames[1::2]
    learning = learning_frames(frames, args.frames)
    rng = np.random.default_rng(seed)
    known = [system.label(atoms) for atoms in system.known(rng)]
    u = first_distribution(system, known)
    started = time.process_time()
    places, gone_through = campaign_places(
        system, u, learning, args.centres, arms, seed, args.per_frame, args.join, args.threshold
    )
    labelled_frames = sorted({one.frame for one in places})
    say(
        f"  {len(places)} centres in {len(labelled_frames)} of {gone_through} frames, {time.process_time() - started:.0f} s"
    )
    first = first_model(system, known, seed)
    centres = [{"frame": one.frame, "atom": one.atom, "uncertainty": one.uncertainty} for one in places]
    if there is not None and (there["centres"] != centres or there["replay"] != args.replay):
        raise SystemExit(f"{path} holds arms of other centres or replay: choose another --out, or the settings it has")
    result: dict[str, Any] = there or {
        "system": system.name,
        "title": system.title,
        "reference": system.reference,
        "moved_by": frames[0].info["moved_by"],
        "kind": system.kind,
        "seed": seed,
        "n_atoms": len(frames[0]),
        "threshold": u.auto_threshold() if args.threshold is None else args.threshold,
        "n_test": len(testing),
        "temperatures": [float(one.info["temperature"]) for one in testing],
        "frames": args.frames,
        "frames_gone_through": gone_through,
        "n_labelled_frames": len(labelled_frames),
        "join": args.join,
        "replay": args.replay,
        "per_frame": args.per_frame,
        "centres": centres,
        "start": {"errors": frame_errors(first, testing).tolist()},
        "arms": {},
    }
    for arm in arms:
        begun = time.process_time()
        if arm == "frame":
            structures = [learning[k] for k in labelled_frames]
        else:
            structures = labelled(system, places, arm)
            write(out / f"{system.name}-{seed}-{arm}.extxyz", structures)
        replay = known if args.replay == "known" else []
        trained = train(first, structures, replay, seed, args.steps, args.doublings)
        result["arms"][arm] = figures(arm, places, structures, learning, testing, trained) | {
            "train_s": time.process_time() - begun
        }
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(result) + "\n")
        partial.rename(path)
        energy, force = 1000.0 * np.mean(result["arms"][arm]["errors"], axis=0)
        say(f"  {arm:12s} {energy:8.2f} meV/atom {force:7.1f} meV/Å   drift {trained.drift:.3f}, {trained.steps} steps")
    return result


def labelled(system: System, places: list[Place], arm: str) -> list[Atoms]:
    """An arm's structures with their labels; masked in the loss where the arm says so."""
    made = []
    for one in places:
        structure = one.arms[arm]
        atoms = system.label(structure.atoms)
        if arm == "ides-masked":
            atoms.set_array("force_weight", structure.core.astype(float))
        made.append(atoms)
    return made


def figures(
    arm: str,
    places: list[Place],
    structures: list[Atoms],
    learning: list[Atoms],
    testing: list[Atoms],
    trained: Trained,
) -> dict[str, Any]:
    """What the tables say of one arm."""
    found: dict[str, Any] = {
        "title": ARMS[arm],
        "n_structures": len(structures),
        "n_labelled_atoms": sum(map(len, structures)),
        "errors": frame_errors(trained.model, testing).tolist(),
        "validation": trained.validation,
        "drift": trained.drift,
        "converged": trained.converged,
        "steps": trained.steps,
    }
    if arm == "frame":
        return found
    cells = [one.arms[arm] for one in places]
    for key in (
        "shell_mean", "shell_max", "shell_over_frame", "volume_error", "core_worsening", "composition_error",
        "search_s", "relax_s", "note",
    ):  # fmt: skip
        found[key] = [getattr(cell, key) for cell in cells]
    found["n_atoms"] = [len(cell.atoms) for cell in cells]
    found["core_force_error"] = [
        core_force_error(atoms, cell.core, cell.parents, learning[one.frame])
        for atoms, cell, one in zip(structures, cells, places, strict=True)
    ]
    return found


def main() -> int:
    """Run what is asked for and is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--arms", nargs="+", default=MAIN, choices=list(ARMS))
    parser.add_argument("--centres", type=int, default=200, help="at most so many in all")
    parser.add_argument("--frames", type=int, default=100, help="about so many frames are screened for centres")
    parser.add_argument("--per-frame", type=int, default=2, help="at most so many centres of a frame")
    parser.add_argument("--threshold", type=float, help="of the centres' uncertainty, in place of the automatic one")
    parser.add_argument(
        "--join", choices=["all", "core"], default="all", help="what of a substructure joins the distribution"
    )
    parser.add_argument(
        "--replay",
        choices=["known", "none"],
        default="known",
        help="whether arms go on with the first model's structures",
    )
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument(
        "--doublings", type=int, default=1, help="how often an arm that is not flat begins again with twice the steps"
    )
    parser.add_argument(
        "--asap", action="store_true", help="move the metals by ASAP's EMT (pip install asap3); labels are ASE's"
    )
    parser.add_argument("--out", type=Path, default=Path("ablation"))
    args = parser.parse_args()
    one_thread()
    args.out.mkdir(parents=True, exist_ok=True)
    converged = True
    for seed in args.seeds:
        for name in args.systems:
            arms = ablate(SYSTEMS[name], seed, args)["arms"]
            converged &= all(one["converged"] for one in arms.values())
    return 0 if converged else 1


if __name__ == "__main__":
    sys.exit(main())
