"""A chain of campaigns that melt one crystal after another: how it is run, and what is measured of it.

Each function measures one thing of a finished chain and returns rows for :mod:`workbench.keeping`.
"""

from __future__ import annotations

import json
import shutil
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from idealflow.analysis import (
    compare_on_frames,
    diffusion_coefficient,
    heat,
    jump,
    local_phases,
    mean_errors,
    msd,
    rdf,
)
from idealflow.cli.main import main as idealflow
from idealflow.core.dynamics import Checkpoint, Limits, MDState, SegmentFiles, Stage, Trajectory, md_segment
from idealflow.core.dynamics import Schedule as Plan
from idealflow.labelling import close_workers
from idealflow.labelling.worker import processor_seconds
from idealflow.provenance import Campaign, CampaignChain, CampaignFolder
from idealflow.report import summarise
from idealflow.report.sections.environments import environments as map_of
from idealflow.workflow.config.load import kept_maker
from idealflow.workflow.drivers.comparing import label_frames
from idealflow.workflow.frames.build import build_structure
from idealflow.workflow.labellers import reference_calculator
from idealflow.workflow.stages.evaluation import evenly
from workbench.coexistence import coexistence

Rows = list[dict[str, Any]]
_PER_CAMPAIGN = 120  # points of a campaign in a figure
_POINTS = 200  # of one kind in a map of environments


def run_chain(configs: Sequence[Path], folder: Path) -> CampaignChain:
    """Run campaigns one after another in subfolders, or go on with them; processor seconds are added up in `cpu.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    spent_file = folder / "cpu.json"
    for config in configs:
        copy, out = folder / config.name, folder / config.stem
        if not copy.exists():
            shutil.copyfile(config, copy)
        before = processor_seconds()
        failed = idealflow(["run", str(copy), "--out", str(out), "--quiet"])
        close_workers()
        spent = json.loads(spent_file.read_text()) if spent_file.exists() else {}
        spent[config.stem] = spent.get(config.stem, 0.0) + processor_seconds() - before
        spent_file.write_text(json.dumps(spent))
        if failed:
            raise SystemExit(f"the campaign in {out} failed")
    return CampaignChain.open(folder / configs[-1].stem)


def chain_so_far(folders: Sequence[Path]) -> CampaignChain:
    """The campaigns that have been begun."""
    begun = [folder for folder in folders if CampaignFolder(folder).exists()]
    if not begun:
        raise SystemExit(f"no campaign has been begun in {folders[0].parent}")
    return CampaignChain.open(begun[-1])


def ancestry(chain: CampaignChain, folder: Path) -> Rows:
    """What each campaign began with and added, what it cost, and how much less than two other ways."""
    spent = json.loads((folder / "cpu.json").read_text()) if (folder / "cpu.json").exists() else {}
    rows = []
    for row, campaign in zip(chain.ancestry().to_dict("records"), chain, strict=True):
        summary = summarise(campaign)
        found = {name: summary[name] for name in ("rounds", "t_sub_s", "t_entire_s", "L", "R_AL", "R_FPMD")}
        cpu = spent.get(campaign.folder.path.name) if campaign.folder else None
        beside = {
            "uncertainty_threshold": summary["uncertainty_threshold"],
            "cpu_s": cpu,
            "stages_s": summary["wall_s"],
        }
        rows.append(row | found | beside)
    return rows


def crystals_in(atoms: Atoms, _first: Atoms) -> dict[str, float]:
    """The share of atoms in each crystal."""
    phases = local_phases(atoms)
    return {name: float((phases == name).mean()) for name in ("fcc", "hcp", "bcc")}


def course(chain: CampaignChain, more: Callable[[Atoms, Atoms], dict[str, float]] = crystals_in) -> Rows:
    """The dynamics, a row for every point of the figure: its time on the chain's axis, ps, and what the frame was.

    Where a frame was stored it has the mean squared displacement since its campaign began (Å²) and what ``more`` says of it and
    the campaign's first frame; where it was screened, the highest uncertainty over the threshold when it was first met.
    """
    log = chain.log()
    rows: Rows = []
    for campaign, start in zip(chain, chain.ancestry()["chain_time_fs"], strict=True):
        state, part = campaign.state(), log[log["campaign"] == campaign.name]
        frames = campaign.trajectory()
        numbers = evenly(_PER_CAMPAIGN, len(frames))
        kept = [frames[i] for i in numbers]
        moved = msd([frames[0].positions, *(atoms.positions for atoms in kept)])[1:]
        by_step = part.set_index("step")
        for atoms, square in zip(kept, moved, strict=True):
            row = by_step.loc[: int(atoms.info["step"])].iloc[-1]  # a frame may lie between two screenings
            rows.append(
                {
                    "campaign": campaign.name,
                    "time_ps": (start + atoms.info["time_fs"]) / 1000.0,
                    "temperature": float(row["temperature"]),
                    "energy": float(row["potential_energy"]) / len(atoms),
                    "pressure": float(row["pressure"]),
                    "ratio": float(row["first_uncertainty"]) / state.threshold,
                    "msd": float(square),
                    **more(atoms, frames[0]),
                }
            )
    return rows


def labels(chain: CampaignChain) -> Rows:
    """When each substructure was labelled, ps on the chain's axis, and how new its centre was."""
    thresholds = {campaign.name: campaign.state().threshold for campaign in chain}
    table = chain.table()
    return [
        {
            "campaign": row["campaign"],
            "step": int(row["step"]),
            "time_ps": row["chain_time_fs"] / 1000.0,
            "ratio": row["uncertainty"] / thresholds[row["campaign"]],
            "n_atoms": row["n_atoms"],
        }
        for row in table[table["state"] == "accepted"].to_dict("records")
    ]


def environments(chain: CampaignChain) -> Rows:
    """The map of environments of each campaign's report (the paper's Figure 2f): points of frame, crops and substructures."""
    rows: Rows = []
    for campaign in chain:
        for block in map_of(campaign).blocks:
            if block["kind"] != "figure":
                raise SystemExit(f"{campaign.name} has no map of environments: {block['text']}")
            for trace in block["data"]:
                points = {axis: np.frombuffer(b64decode(trace[axis]["bdata"]), "<f4").astype(float) for axis in "xy"}
                thin = max(1, -(-len(points["x"]) // _POINTS))
                thinned = {axis: values[::thin] for axis, values in points.items()}
                rows.append({"campaign": campaign.name, "kind": trace["name"], **thinned})
    return rows


def errors(chain: CampaignChain, folder: Path, n_frames: int) -> Rows:
    """Errors on frames of each campaign, by stage of its schedule: of the chain's first model, its last, the campaign's own."""
    rows: Rows = []
    for campaign in chain:
        maker = maker_of(campaign)
        frames = campaign.trajectory()
        drawn = [frames[i] for i in evenly(n_frames, len(frames))]
        labelled, failed = label_frames(maker.label, drawn, folder / "labels")
        models = {"first": chain.first_model(), "own": campaign.model(), "last": chain.last_model()}
        plan = maker.segment.plan()
        for stage in range(len(maker.segment.schedule)):
            mine = [atoms for atoms in labelled if atoms is not None and plan.stage(int(atoms.info["step"])) == stage]
            if not mine:
                continue
            rows += errors_on(mine, models, {"campaign": campaign.name, "stage": stage, "n_failed": len(failed)})
    return rows


def errors_on(frames: Sequence[Atoms], models: Mapping[str, Any], about: Mapping[str, Any]) -> Rows:
    """Errors of force fields on labelled frames, meV/atom and meV/Å, a row each that begins with what the frames are."""
    temperature = float(np.mean([atoms.info["temperature"] for atoms in frames]))
    size = 1e3 * float(np.sqrt(np.mean([(atoms.get_forces() ** 2).mean() for atoms in frames])))
    rows: Rows = []
    for name, each in compare_on_frames({n: model.calculator() for n, model in models.items()}, frames).items():
        mean = mean_errors(each)
        rows.append(
            {
                **about,
                "temperature": temperature,
                "model": name,
                "n_frames": mean.n_frames,
                "energy_mae": 1e3 * mean.energy_mae,
                "energy_bias": 1e3 * mean.energy_bias,
                "force_mae": 1e3 * mean.force_mae,
                "force_rms": size,
            }
        )
    return rows


def liquid(chain: CampaignChain, folder: Path, temperature: float, steps: int, settle: int) -> dict[str, Rows]:
    """The liquid by the chain's last model and by the reference's own dynamics, both from the last frame of the chain.

    Returned are radial distribution functions, and a row for each of the two runs.
    """
    start = chain[-1].trajectory()[-1]
    calculators = {
        "last": chain.last_model().calculator(),
        "reference": reference_calculator(maker_of(chain[-1]).label.labeller),
    }
    curves: dict[str, Any] = {}
    runs: Rows = []
    for name, calculator in calculators.items():
        frames = hold(calculator, start, temperature, steps, folder / f"liquid-{name}")
        kept = frames[settle:]
        curve = rdf(kept, r_max=8.0, n_bins=160)
        curves[name] = curve.g
        curves["r"] = curve.r
        times = [atoms.info["time"] for atoms in kept]
        moved = msd([atoms.positions for atoms in kept], origins="all")
        peak = int(curve.g.argmax())
        runs.append(
            {
                "by": name,
                "n_frames": len(kept),
                "n_atoms": len(start),
                "temperature": float(np.mean([atoms.info["temperature"] for atoms in kept])),
                "energy": 1e3 * float(np.mean([atoms.info["energy"] for atoms in kept])) / len(start),
                "peak_r": float(curve.r[peak]),
                "peak_g": float(curve.g[peak]),
                "diffusion": diffusion_coefficient(np.array(times) - times[0], moved),
            }
        )
    apart = float(np.abs(curves["last"] - curves["reference"])[curves["r"] > 2.0].mean())
    rows = [dict(zip(curves, point, strict=True)) for point in zip(*curves.values(), strict=True)]
    return {"rdf": rows, "liquid": [run | {"mean_g_difference": apart} for run in runs]}


def hold(calculator: Any, start: Atoms, temperature: float, steps: int, files: Path) -> list[Atoms]:
    """Frames, every 20 fs, of a run at constant volume and temperature, 1 fs a step; a run that was interrupted goes on."""
    files.parent.mkdir(parents=True, exist_ok=True)
    trajectory = files.with_suffix(".idf")
    result = md_segment(
        calculator,
        MDState.initial(start, temperature, seed=1),
        schedule=Plan([Stage("hold", temperature, steps=steps)]),
        sampler="langevin",
        check_interval=20,
        limits=Limits(max_temperature=max(10000.0, 2.0 * temperature)),
        files=SegmentFiles(trajectory=trajectory, checkpoint=Checkpoint(files.with_suffix(".npz"))),
    )
    if result.reason != "schedule_end":
        raise SystemExit(f"{files.name} ended early: {result.detail or result.reason}")
    return list(Trajectory(trajectory))


def scan(
    chain: CampaignChain,
    folder: Path,
    crystal: dict[str, Any],
    repeats: Sequence[int | list[int]],
    n_reference: int,
    temperatures: Sequence[float],
    steps: int,
) -> dict[str, Rows]:
    """Energy and density along temperatures at no pressure, and where they jump: by the last model, the first sizes by both."""
    last = chain.last_model().calculator()
    reference = reference_calculator(maker_of(chain[-1]).label.labeller)
    by = [("last", last), ("reference", reference)]
    runs = [(*each, repeat) for n, repeat in enumerate(repeats) for each in by[: 2 if n < n_reference else 1]]
    ladder: Rows = []
    jumps: Rows = []
    for name, calculator, repeat in runs:
        atoms = build_structure({**crystal, "repeat": repeat})
        rungs = heat(calculator, atoms, temperatures, steps=steps, checkpoint=folder / f"scan-{name}-{len(atoms)}.npz")
        mine = [
            {"by": name, "n_atoms": len(atoms), "target": rung.target, "temperature": rung.temperature}
            | {"energy": 1e3 * rung.energy, "density": rung.density}
            for rung in rungs
        ]
        ladder += mine
        for what in ("energy", "density"):
            found = jump([rung.target for rung in rungs], [row[what] for row in mine])
            about = {"by": name, "n_atoms": len(atoms), "what": what, "temperature": found.temperature}
            about |= {"uncertainty": found.uncertainty, "size": found.size, "significance": found.significance}
            jumps.append(about)
            print(about, flush=True)
    return {"ladder": ladder, "jumps": jumps}


def coexist(
    chain: CampaignChain,
    by: str,
    folder: Path,
    crystal: dict[str, Any],
    temperatures: Sequence[float],
    repeats: Sequence[Sequence[int]],
    steps: int,
) -> dict[str, Rows]:
    """Half-molten cells of several sizes, by the ``reference`` or the ``last`` model, and where neither phase grows."""
    model = by == "last"
    calculator = chain.last_model().calculator() if model else reference_calculator(maker_of(chain[-1]).label.labeller)
    found = coexistence(calculator, by, crystal, repeats, temperatures, steps, folder / "coexistence")
    return {f"{name}_{by}": rows for name, rows in found.items()}


def maker_of(campaign: Campaign) -> Any:
    """The maker that a campaign in a folder ran with."""
    if campaign.folder is None:
        raise SystemExit(f"campaign {campaign.name} lies in no folder")
    return kept_maker(campaign.folder.readable_config)
