"""The head of the report: where the campaign stands, in a few numbers with their meaning, and what to know first."""

from __future__ import annotations

from typing import Any

from idealflow.report.sections.blocks import Block, Section, note, written
from idealflow.report.wording import too_few_line, waived_line

__all__ = ["head"]


def head(summary: dict[str, Any]) -> Section:
    """Where the campaign stands, from what :func:`idealflow.report.summarise` gives.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> from idealflow.report import summarise
    >>> facts = head(summarise(sample_campaign())).blocks[0]["items"]
    >>> [(fact["name"], fact["value"]) for fact in facts[:3]]
    [('atoms', '107'), ('MD steps', '60 of 60'), ('rounds', '8')]
    """
    section = Section("head", summary["campaign"], str(summary.get("reason", "")))
    if "n_steps" not in summary:
        section.add(
            note("The bootstrap is under way: the first structures are labelled and the first model is learned.")
        )
        return section
    section.add({"kind": "facts", "items": _facts(summary)}, *_notes(summary))
    return section


def _facts(summary: dict[str, Any]) -> list[dict[str, str]]:
    per_frame = "–" if summary["L"] is None else f"{summary['L']:.2f}"
    rows = [
        ("atoms", written(summary["n_atoms"]), "in the frame of the first walker"),
        ("MD steps", f"{written(summary['n_steps'])} of {written(summary['n_steps_planned'])}", "of all walkers"),
        ("rounds", written(summary["rounds"]), "dynamics until a frame triggers, labels, a model update"),
        ("substructures", written(summary["n_substructures"]), "small cells labelled by the reference and accepted"),
        ("labelled frames", written(summary["n_labelled_frames"]), "frames with at least one accepted label"),
        ("failed labels", written(summary["n_failed_labels"]), "every attempt counted; causes below"),
        ("model version", written(summary["model_version"]), "0 is the bootstrap's; every accepted update makes the next"),
        ("threshold", written(summary["uncertainty_threshold"]), "uncertainty above which an uncovered atom asks for a label; "
         "1 is the mean over what the model knows, and the automatic threshold is the tail of that distribution"),
        ("substructures a frame", per_frame, "L: accepted substructures over labelled frames"),
        ("speed-up over active learning", written(summary["R_AL"]), "R_AL: over labelling the whole frame instead of its "
         "substructures; measured once whole frames are labelled"),
        ("speed-up over first-principles MD", written(summary["R_FPMD"]), "R_FPMD: over computing every step of the whole frame"),
        ("time in stages", _duration(summary["wall_s"]), "wall time of the jobs of all committed rounds"),
    ]  # fmt: skip
    if start := summary.get("pretrained"):
        shift = start["force_shift_last_meV_per_A"]
        moved = "–" if shift is None else f"{shift:.1f} meV/Å"
        hint = f"mean change of forces on structures outside the campaign, since the weights {start['weights']} it began from"
        rows.append(("force shift", moved, hint))
    return [{"name": name, "value": value, "hint": hint} for name, value, hint in rows]


def _notes(summary: dict[str, Any]) -> list[Block]:
    found = []
    if summary.get("reference"):
        found.append(
            note(
                f"Reference: {summary['reference']}. All labels on this page are made by it, and all errors are against it."
            )
        )
    methods = summary.get("labels_by_method") or {}
    if len(methods) > 1:
        counted = ", ".join(f"{n} labels by {method}" for method, n in methods.items())
        found.append(note(f"The labels are by several methods: {counted}.", warning=True))
    if too_few := summary.get("too_few_environments"):
        found.append(note(f"{too_few_line(too_few)}.", warning=True))
    calibration = summary.get("calibration") or {}
    if calibration.get("warning"):
        found.append(note(f"{calibration['warning']}.", warning=True))
    if (boxed := summary.get("n_labels_without_vacuum", 0)) > 0:
        text = (
            f"{boxed} labels of version 0.1.0 were made without vacuum, of open structures; training leaves them out."
        )
        found.append(note(text, warning=True))
    if waived := summary.get("n_surface_rule_waived"):
        found.append(note(f"{waived_line(waived)}.", warning=True))
    return found + [
        note(f"{message}.") for message in [*summary.get("settings_remarks", []), *summary.get("notes", [])]
    ]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"
