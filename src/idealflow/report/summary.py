"""A campaign's figures as one small dictionary, and as the JSON file that holds it."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from idealflow.analysis import acceleration, calibrate
from idealflow.errors import ArtifactError
from idealflow.provenance import Campaign
from idealflow.schemas import BootstrapDoc, CampaignState, EvaluationDoc, FrameErrors
from idealflow.storage import replacing

__all__ = ["summarise", "write_summary"]

_WAIVE = "crop.waive_surface_rule"


def summarise(campaign: Campaign, *, whole: bool = True, recompute: bool = False) -> dict[str, Any]:
    """Sum up where a campaign stands and what it cost.

    L, R_AL and R_FPMD are the paper's (Table 4); they are None until all of their parts are measured.

    Parameters
    ----------
    campaign
        The campaign.
    whole
        Whether to add ``labels_by_method``, ``calibration`` and others for which the documents of all labels are read; without
        them the cost does not grow with the number of rounds.
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
        "n_consolidations": state.n_consolidations,
        "n_discarded_consolidations": state.n_discarded_consolidations,
        "consolidation_s": sum(doc.seconds for doc in campaign.consolidations()),
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
    first = campaign.bootstrap()
    if first is not None and first.pretrained is not None:
        summary["pretrained"] = _since_the_start(campaign, first)
    if whole:
        summary["labels_by_method"] = campaign.labels_by_method()
        summary["failed_labels"] = _failed_labels(campaign)
        summary["n_surface_rule_waived"] = _n_waived(campaign, state)
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


def _since_the_start(campaign: Campaign, first: BootstrapDoc) -> dict[str, Any]:
    """Weights that the first model began from, and how far the first and the last model are from them, meV/Å."""
    learned = [*campaign.updates(), *campaign.consolidations()]
    last = max(learned, key=lambda doc: (doc.learner.version, doc.round), default=None)
    shifts = [doc.force_shift for doc in (first, first if last is None else last)]
    first_shift, last_shift = (None if shift is None else 1e3 * shift for shift in shifts)
    return {
        "weights": first.pretrained,
        "force_shift_first_meV_per_A": first_shift,
        "force_shift_last_meV_per_A": last_shift,
    }


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


def _failed_labels(campaign: Campaign) -> list[dict[str, str]]:
    """Request key and cause of each label that failed, the latest first."""
    found = []
    for kind in ("label", "substructure"):
        found += campaign.outputs(kind, ["request_key", "cause", "round"], state="failed")
    found.sort(key=lambda each: (-each["round"], each["request_key"]))
    return [{"request_key": each["request_key"], "cause": each.get("cause") or "unknown"} for each in found]


def _n_waived(campaign: Campaign, state: CampaignState) -> int:
    """Accepted labels of cells that lack the empty space their centre looks into, as ``crop.waive_surface_rule`` allows."""
    if not (any(entry.key == _WAIVE for entry in state.changes) or _waives(campaign, state)):
        return 0
    where = ("round", "walker", "step", "atom")
    crops = campaign.outputs(
        "crop", (*where, "candidates.surface_rule_waived")
    )  # no condition that needs MongoDB's filter
    waived = {
        tuple(crop[name] for name in where)
        for crop in crops
        if any("surface_rule_waived" in candidate for candidate in crop.get("candidates", []))
    }
    labels = campaign.outputs("substructure", where, state="accepted")
    return sum(tuple(label[name] for name in where) in waived for label in labels)


def _waives(campaign: Campaign, state: CampaignState) -> bool:
    """Whether the present settings may waive the rule; also where their file cannot be read, so that the cells are counted."""
    if state.settings is None:  # version 0.1.0 had no such rule
        return False
    try:
        return bool(campaign.settings().get(_WAIVE))
    except ArtifactError:
        return True


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


def _costs(state: CampaignState, evaluation: EvaluationDoc | None, steps: int) -> dict[str, Any]:
    """t_sub, t_entire, L and the two accelerations, as far as they were measured."""
    # labels from outside may come without their times, and are counted as 0 s
    t_sub = state.label_seconds / state.n_substructures if state.n_substructures and state.label_seconds else None
    per_frame = state.n_substructures / state.n_labelled_frames if state.n_labelled_frames else None
    t_entire = None if evaluation is None else evaluation.t_entire_s or None
    method = "not measured: no whole frame was labelled"
    if evaluation is not None and evaluation.t_entire_s == 0.0:
        method = "not measured: labels of whole frames came without their times"
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
    # Monte Carlo has no velocities, and so the target alone
    had = [
        frame.temperature if frame.temperature_md is None or math.isnan(frame.temperature_md) else frame.temperature_md
        for frame in frames
    ]
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
