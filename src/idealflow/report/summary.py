"""The campaign's figures as one small dictionary, as JSON, and as text."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from idealflow.analysis import acceleration, calibrate
from idealflow.provenance import Campaign
from idealflow.schemas import CampaignState, EvaluationDoc, FrameErrors
from idealflow.storage import replacing

__all__ = ["evaluation_line", "summarise", "summary_text", "too_few_line", "write_summary"]

_CHOICES = {"keep": "training uses them too", "leave_out": "training leaves them out"}


def summarise(campaign: Campaign, *, whole: bool = True, recompute: bool = False) -> dict[str, Any]:
    """Sum up where a campaign stands and what it cost.

    L, R_AL and R_FPMD are the paper's (Table 4); they are None until all of their parts are measured.

    Parameters
    ----------
    campaign
        The campaign.
    whole
        Whether to add ``labels_by_method`` and ``calibration``, for which the documents of all labels are read; without them
        the cost does not grow with the number of rounds.
    recompute
        Whether to compute those errors for ``calibration`` that campaigns of earlier versions have not stored.

    Returns
    -------
    dict
        What ``summary.json`` holds: text, numbers, lists and dictionaries of them; times in s, errors in meV/atom and meV/Å.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> summary = summarise(sample_campaign())
    >>> summary["status"], summary["n_substructures"]
    ('finished', 5)
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
        **_first_structures(campaign, state),
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
        "labelled_again": _labelled_again(campaign, state),
        "n_labels_without_vacuum": _without_vacuum(campaign, state),
        **_costs(state, evaluation, steps),
        "notes": state.notes,
    }
    if state.too_few:
        summary["too_few_environments"] = state.too_few
    if whole:
        summary["labels_by_method"] = campaign.labels_by_method()
        summary["calibration"] = _calibration(campaign, recompute)
    if evaluation is not None:
        stages = sorted({frame.stage for frame in evaluation.frames})
        summary["evaluation"] = [_stage_errors(evaluation, stage) for stage in stages]
        summary["evaluation_version"] = evaluation.last_version
    return summary


def write_summary(campaign: Campaign, path: Path, *, whole: bool = True, **changes: Any) -> None:
    """Write the summary as a JSON file, whole or not at all.

    Parameters
    ----------
    campaign, whole
        As for :func:`summarise`.
    path
        File to write.
    changes
        Entries to replace, such as the status of a pause, which the store does not know.

    Examples
    --------
    >>> import tempfile
    >>> from idealflow.provenance import sample_campaign
    >>> path = Path(tempfile.mkdtemp(), "summary.json")
    >>> write_summary(sample_campaign(), path, status="paused")
    >>> json.loads(path.read_text())["status"]
    'paused'
    """
    text = json.dumps(summarise(campaign, whole=whole) | changes, indent=2) + "\n"
    with replacing(path) as draft:
        draft.write_text(text)


def summary_text(summary: dict[str, Any]) -> str:
    """Write a summary of :func:`summarise` as a few readable lines.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> summary = summarise(sample_campaign())
    >>> print(summary_text(summary).splitlines()[0])
    campaign tiny: finished (the schedule is done)
    """
    if "n_steps" not in summary:
        return f"campaign {summary['campaign']}: {summary['status']} ({summary['reason']})\n"
    lines = [
        f"campaign {summary['campaign']}: {summary['status']} ({summary['reason']})",
        f"  {summary['n_atoms']} atoms, step {summary['n_steps']} of {summary['n_steps_planned']}, "
        f"{summary['rounds']} rounds, model version {summary['model_version']}",
        f"  labels by {_methods(summary)}: {summary['n_substructures']} substructures in "
        f"{summary['n_labelled_frames']} frames, {_first(summary)}, "
        f"{summary['n_failed_labels']} failed",
    ]
    lines += [f"  {count} failed: {cause}" for cause, count in summary["failure_causes"].items()]
    if (boxed := summary["n_labels_without_vacuum"]) > 0:
        lines.append(
            f"  {boxed} labels of version 0.1.0 were made without vacuum, of structures that are not periodic in all directions: "
            "training leaves them out from the next round on; label.other_method: relabel labels them again"
        )
    if summary["other_method"] is not None:
        lines.append(f"  labels of another method: {_other_labels(summary)}")
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
    if too_few := summary.get("too_few_environments"):
        lines.append(f"  warning: {too_few_line(too_few)}")
    if calibration := summary.get("calibration"):
        lines.append(_calibration_line(calibration))
    lines += [evaluation_line(entry) for entry in summary.get("evaluation", [])]
    if (of := summary.get("evaluation_version")) is not None and of != summary["model_version"]:
        lines.append(
            f"  note: this comparison is of model version {of}, not of the present one; `idealflow evaluate` compares it"
        )
    lines += [f"  {message}" for message in summary.get("notes", [])]
    return "\n".join(lines) + "\n"


def _without_vacuum(campaign: Campaign, state: CampaignState) -> int:
    """Labels that version 0.1.0 made without vacuum; looked for in campaigns of that version, known in later ones."""
    if state.settings is None and state.learner is not None:
        return len(campaign.labels_without_vacuum())
    return state.n_without_vacuum


def _first_structures(campaign: Campaign, state: CampaignState) -> dict[str, int]:
    """What the first model was learned from: labels of the bootstrap, or structures that came with labels."""
    doc = campaign.bootstrap()
    source = "structures" if doc is None else doc.source
    n = 0 if doc is None else doc.n_structures
    return {
        "n_bootstrap_labels": state.n_bootstrap_labels if source == "structures" else 0,
        "n_dataset_structures": n if source == "dataset" else 0,
        "n_carried_structures": n if source == "campaign" else 0,
    }


def _first(summary: dict[str, Any]) -> str:
    if n := summary["n_dataset_structures"]:
        return f"{n} from the dataset"
    if n := summary["n_carried_structures"]:
        return f"{n} from the earlier campaign"
    return f"{summary['n_bootstrap_labels']} for the bootstrap"


def _labelled_again(campaign: Campaign, state: CampaignState) -> dict[str, Any] | None:
    """What became of learned labels the last time they were to be labelled again; None if they never were."""
    if state.other_method != "relabel":
        return None
    again = [doc for doc in campaign.relabellings() if doc.choice == "relabel"]
    if not again or (state.sort_labels is not None and state.status != "failed"):
        return None
    last = again[-1]
    causes = dict(Counter(last.failed.values()).most_common())
    return {"n": len(last.relabelled), "n_failed": len(last.failed), "causes": causes, "refitted": last.refitted}


def _other_labels(summary: dict[str, Any]) -> str:
    """What training does with labels of another method, in words."""
    if summary["other_method"] != "relabel":
        return _CHOICES[summary["other_method"]]
    again = summary["labelled_again"]
    if again is None:
        return "they are to be labelled again"
    causes = "; ".join(f"{count}× {cause}" for cause, count in again["causes"].items())
    if not again["n"] and again["n_failed"]:
        return f"none was labelled again, {again['n_failed']} failed ({causes}); the model is as before"
    failed = f", {again['n_failed']} failed and are left out ({causes})" if again["n_failed"] else ""
    fitted = "the model was fitted anew" if again["refitted"] else "too few for a new fit: the model goes on as it is"
    return f"{again['n']} were labelled again{failed}; {fitted}"


def too_few_line(too_few: dict[str, int]) -> str:
    """Say what it means that species are known from too few distinct environments, whose numbers ``too_few`` gives.

    Examples
    --------
    >>> print(too_few_line({"Cu": 2}).partition(";")[0])  # doctest: +ELLIPSIS
    too few distinct environments are known to judge others by (Cu from 2
    """
    from idealflow.core import FEWEST  # with numba, which takes a second to import

    counts = ", ".join(f"{species} from {n}" for species, n in too_few.items())
    return (
        f"too few distinct environments are known to judge others by ({counts}; {FEWEST} are needed): everything else of these "
        "species is new, and no threshold means anything for them; give the bootstrap structures that differ"
    )


def evaluation_line(entry: dict[str, Any]) -> str:
    """Write one stage of the evaluation, an entry of a summary's ``evaluation``, as a line; signed errors are in brackets.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> summary = summarise(sample_campaign())
    >>> print(evaluation_line(summary["evaluation"][0]).partition(":")[0])
      whole frames of stage 0 (1, 237 K), first → last model
    """
    energies = [
        f"{entry[f'energy_mae_{model}_meV_per_atom']:.2f} ({entry[f'energy_me_{model}_meV_per_atom']:+.2f})"
        for model in ("first", "last")
    ]
    return (
        f"  whole frames of stage {entry['stage']} ({entry['n_frames']}, {entry['temperature']:.0f} K), first → last model: "
        f"energy {energies[0]} → {energies[1]} meV/atom, absolute (signed), "
        f"forces {entry['force_mae_first_meV_per_A']:.0f} → {entry['force_mae_last_meV_per_A']:.0f} meV/Å"
    )


def _methods(summary: dict[str, Any]) -> str:
    """The labels' methods in words, with the number of labels where there are several."""
    methods = summary.get("labels_by_method") or {}
    if len(methods) < 2:
        return str(next(iter(methods), summary["reference"]))
    return f"{len(methods)} methods ({', '.join(f'{n} by {method}' for method, n in methods.items())})"


def _calibration(campaign: Campaign, recompute: bool) -> dict[str, Any] | None:
    """Rank correlation of uncertainty and force error, and errors by bins; None where no error is known."""
    rows = [row for row in campaign.calibration_rows(recompute=recompute) if math.isfinite(row["force_error"])]
    if not rows:
        return None
    found = calibrate([row["ratio"] for row in rows], [row["force_error"] for row in rows])
    bins = [
        {
            "from": float(found.edges[i]),
            "to": float(found.edges[i + 1]) if math.isfinite(found.edges[i + 1]) else None,
            "n": int(found.counts[i]),
            "force_error_meV_per_A": 1e3 * float(found.mean_errors[i]),
        }
        for i in np.flatnonzero(found.counts)
    ]
    return {"n": found.n, "rank_correlation": found.rank_correlation, "bins": bins, "warning": found.warning}


def _calibration_line(calibration: dict[str, Any]) -> str:
    correlation = calibration["rank_correlation"]
    shown = "undefined" if correlation is None else f"{correlation:.2f}"
    bins = ", ".join(
        f"{_bin(entry)}: {entry['force_error_meV_per_A']:.0f} meV/Å ({entry['n']})" for entry in calibration["bins"]
    )
    line = f"  uncertainty against force error at {calibration['n']} labelled centres: rank correlation {shown}; by u/τ {bins}"
    return line if calibration["warning"] is None else f"{line}\n  warning: {calibration['warning']}"


def _bin(entry: dict[str, Any]) -> str:
    return f"≥ {entry['from']:g}" if entry["to"] is None else f"{entry['from']:g}–{entry['to']:g}"


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
    """Mean errors of first and last model on the whole frames of one stage of the schedule, absolute and signed."""
    frames = [frame for frame in evaluation.frames if frame.stage == stage]
    errors = {"first": [_per_atom(frame, frame.energy_first) for frame in frames]}
    errors["last"] = [_per_atom(frame, frame.energy_last) for frame in frames]
    # documents of earlier versions know the target alone
    had = [frame.temperature if frame.temperature_md is None else frame.temperature_md for frame in frames]
    return {
        "stage": stage,
        "n_frames": len(frames),
        "temperature": float(np.mean(had)),
        "temperature_target": float(np.mean([frame.temperature for frame in frames])),
        **{f"energy_mae_{name}_meV_per_atom": 1e3 * float(np.mean(np.abs(found))) for name, found in errors.items()},
        **{f"energy_me_{name}_meV_per_atom": 1e3 * float(np.mean(found)) for name, found in errors.items()},
        "force_mae_first_meV_per_A": 1e3 * float(np.mean([frame.force_mae_first for frame in frames])),
        "force_mae_last_meV_per_A": 1e3 * float(np.mean([frame.force_mae_last for frame in frames])),
    }


def _per_atom(frame: FrameErrors, energy: float) -> float:
    """Energy error per atom, model less reference, eV."""
    return (energy - frame.energy_reference) / frame.n_atoms
