"""The campaign's figures as one small dictionary, as JSON, and as text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from idealflow.analysis import acceleration
from idealflow.provenance import Campaign
from idealflow.schemas import CampaignState, EvaluationDoc

__all__ = ["summarise", "summary_text", "write_summary"]

_CHOICES = {
    "keep": "training uses them too",
    "leave_out": "training leaves them out",
    "relabel": "they were labelled again, and the model was fitted anew",
}


def summarise(campaign: Campaign) -> dict[str, Any]:
    """Where a campaign stands and what it cost.

    L, R_AL and R_FPMD are the paper's (Table 4); they are None until all of their parts are measured.
    """
    state = campaign.state()
    if state is None:
        return {"campaign": campaign.name, "status": "running", "reason": "the bootstrap is under way", "rounds": 0}
    evaluation = campaign.evaluation()
    steps = sum(walker.step for walker in state.walkers)
    summary: dict[str, Any] = {
        "campaign": state.campaign,
        "status": state.status,
        "reason": state.reason,
        "reference": state.label_method,
        "n_atoms": state.n_atoms,
        "n_walkers": len(state.walkers),
        "n_steps": steps,
        "n_steps_planned": state.schedule_steps * len(state.walkers),
        "rounds": state.round,
        "n_labelled_frames": state.n_labelled_frames,
        "n_substructures": state.n_substructures,
        "n_bootstrap_labels": state.n_bootstrap_labels,
        "n_failed_labels": state.n_failed_labels,
        "failure_causes": state.failure_causes,
        "n_quarantined": state.n_quarantined,
        "n_rejected_updates": state.n_rejected_updates,
        "model_version": None if state.learner is None else state.learner.version,
        "model_sha256": None if state.learner is None else state.learner.force_field.sha256,
        "uncertainty_threshold": state.threshold,
        "wall_s": state.wall_s,
        "threads": state.threads,
        "settings_changes": [entry.model_dump() for entry in state.changes],
        "settings_remarks": state.remarks,
        "other_method": state.other_method,
        "n_labels_without_vacuum": _without_vacuum(campaign, state),
        **_costs(state, evaluation, steps),
    }
    if evaluation is not None:
        stages = sorted({frame.stage for frame in evaluation.frames})
        summary["evaluation"] = [_stage_errors(evaluation, stage) for stage in stages]
    return summary


def write_summary(campaign: Campaign, path: Path, **changes: Any) -> None:
    """Write the summary as JSON, atomically; ``changes`` replace entries (a pause the store does not know of)."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(summarise(campaign) | changes, indent=2) + "\n")
    temporary.replace(path)


def summary_text(summary: dict[str, Any]) -> str:
    """The summary as a few readable lines."""
    if "n_steps" not in summary:
        return f"campaign {summary['campaign']}: {summary['status']} ({summary['reason']})\n"
    lines = [
        f"campaign {summary['campaign']}: {summary['status']} ({summary['reason']})",
        f"  {summary['n_atoms']} atoms, step {summary['n_steps']} of {summary['n_steps_planned']}, "
        f"{summary['rounds']} rounds, model version {summary['model_version']}",
        f"  labels by {summary['reference']}: {summary['n_substructures']} substructures in "
        f"{summary['n_labelled_frames']} frames, {summary['n_bootstrap_labels']} for the bootstrap, "
        f"{summary['n_failed_labels']} failed",
    ]
    lines += [f"  {count} failed: {cause}" for cause, count in summary["failure_causes"].items()]
    if (boxed := summary["n_labels_without_vacuum"]) > 0:
        lines.append(
            f"  {boxed} labels of version 0.1.0 were made without vacuum, of structures that are not periodic in all directions: "
            "training leaves them out from the next round on; label.other_method: relabel labels them again"
        )
    if summary["other_method"] is not None:
        lines.append(f"  labels of another method: {_CHOICES[summary['other_method']]}")
    lines += [
        f"  from round {entry['round']} on {entry['key']} = {entry['after']}, before {entry['before']}"
        for entry in summary["settings_changes"]
    ]
    lines += [f"  note: {remark}" for remark in summary["settings_remarks"]]
    if summary["R_FPMD"] is not None:
        lines.append(
            f"  t_sub {summary['t_sub_s']:.3g} s, t_entire {summary['t_entire_s']:.3g} s ({summary['t_entire_method']}), "
            f"L {summary['L']:.2f}, R_AL {summary['R_AL']:.3g}, R_FPMD {summary['R_FPMD']:.3g}"
        )
    lines += [
        f"  whole frames of stage {entry['stage']} ({entry['n_frames']}, {entry['temperature']:.0f} K), first → last model: "
        f"energy {entry['energy_mae_first_meV_per_atom']:.2f} → {entry['energy_mae_last_meV_per_atom']:.2f} meV/atom, "
        f"forces {entry['force_mae_first_meV_per_A']:.0f} → {entry['force_mae_last_meV_per_A']:.0f} meV/Å"
        for entry in summary.get("evaluation", [])
    ]
    return "\n".join(lines) + "\n"


def _without_vacuum(campaign: Campaign, state: CampaignState) -> int:
    """Labels that version 0.1.0 made without vacuum; looked for in campaigns of that version, known in later ones."""
    if state.settings is None and state.learner is not None:
        return len(campaign.labels_without_vacuum())
    return state.n_without_vacuum


def _costs(state: CampaignState, evaluation: EvaluationDoc | None, steps: int) -> dict[str, Any]:
    """t_sub, t_entire, L and the two accelerations, as far as they were measured."""
    t_sub = state.label_seconds / state.n_substructures if state.n_substructures else None
    per_frame = state.n_substructures / state.n_labelled_frames if state.n_labelled_frames else None
    t_entire = None if evaluation is None else evaluation.t_entire_s
    method = "not measured: no whole frame was labelled"
    if evaluation is not None and t_entire is not None:
        method = f"measured: mean of {len(evaluation.frames)} whole frames labelled with {evaluation.method}"
    costs = {"t_sub_s": t_sub, "t_entire_s": t_entire, "t_entire_method": method, "L": per_frame}
    if t_sub is None or t_entire is None or per_frame is None:
        return costs | {"R_AL": None, "R_FPMD": None}
    speed = acceleration(
        t_sub=t_sub,
        t_entire=t_entire,
        n_steps=steps,
        n_labelled_frames=state.n_labelled_frames,
        n_substructures=state.n_substructures,
    )
    return costs | {"R_AL": speed.R_AL, "R_FPMD": speed.R_FPMD}


def _stage_errors(evaluation: EvaluationDoc, stage: int) -> dict[str, Any]:
    """Mean absolute errors of first and last model on the whole frames of one stage of the schedule."""
    frames = [frame for frame in evaluation.frames if frame.stage == stage]
    n = len(frames)
    return {
        "stage": stage,
        "n_frames": n,
        "temperature": sum(f.temperature for f in frames) / n,
        "energy_mae_first_meV_per_atom": 1e3
        * sum(abs(f.energy_first - f.energy_reference) / f.n_atoms for f in frames)
        / n,
        "energy_mae_last_meV_per_atom": 1e3
        * sum(abs(f.energy_last - f.energy_reference) / f.n_atoms for f in frames)
        / n,
        "force_mae_first_meV_per_A": 1e3 * sum(f.force_mae_first for f in frames) / n,
        "force_mae_last_meV_per_A": 1e3 * sum(f.force_mae_last for f in frames) / n,
    }
