"""A campaign's summary in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from idealflow.wording import counted

__all__ = [
    "RELAXATION_ENDED",
    "SEGMENT_ENDED",
    "carried_words",
    "correlation_words",
    "evaluation_line",
    "summary_text",
    "too_few_line",
    "waived_line",
]

#: why a segment ended
SEGMENT_ENDED = {
    "triggered": "a frame triggered",
    "schedule_end": "the schedule was done",
    "segment_end": "the segment's length was done",
    "wall_time": "its time was up",
    "blow_up": "the dynamics blew up",
}

#: why a relaxation ended
RELAXATION_ENDED = {
    "in_distribution": "the shell is as the model knows it",
    "converged": "it converged",
    "steps": "its steps were spent",
    "contact": "no step keeps atoms far enough apart",
    "unchanged": "nothing better than the crop was found",
    "unknown": "every environment is of a species never seen",
}

#: failed labels that a text names
_NAMED = 5
#: centres below which a rank correlation says next to nothing
_FEW_CENTRES = 8

_CHOICES = {"keep": "training uses them too", "leave_out": "training leaves them out"}


def summary_text(summary: dict[str, Any]) -> str:
    """Write a summary of :func:`summarise` as a few readable lines.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> from idealflow.report import summarise
    >>> summary = summarise(sample_campaign())
    >>> print(summary_text(summary).splitlines()[0])
    campaign tiny: finished (the schedule is done)
    """
    if "n_steps" not in summary:
        return f"campaign {summary['campaign']}: {summary['status']} ({summary['reason']})\n"
    lines = [
        f"campaign {summary['campaign']}: {summary['status']} ({summary['reason']})",
        f"  {counted(summary['n_atoms'], 'atom')}, step {summary['n_steps']} of {summary['n_steps_planned']}, "
        f"{counted(summary['rounds'], 'round')}, model version {summary['model_version']}",
        f"  labels by {_methods(summary)}: {counted(summary['n_substructures'], 'substructure')} in "
        f"{counted(summary['n_labelled_frames'], 'frame')}, {_first(summary)}, "
        f"{summary['n_failed_labels']} failed",
    ]
    lines += [f"  {count} failed: {cause}" for cause, count in summary["failure_causes"].items()]
    failed = summary.get("failed_labels", [])
    lines += [f"    {each['request_key']}: {each['cause']}" for each in failed[:_NAMED]]
    if len(failed) > _NAMED:
        lines.append(f"    and {len(failed) - _NAMED} more: `status --json` names all")
    lines += _of_the_start(summary)
    if (threshold := summary["uncertainty_threshold"]) is not None:
        lines.append(
            f"  threshold {threshold:.2f}: an atom whose uncertainty is higher asks for a label, unless one like it was learned "
            "(1 is the mean of what is known)"
        )
    if (boxed := summary["n_labels_without_vacuum"]) > 0:
        lines.append(
            f"  {boxed} labels of version 0.1.0 were made without vacuum, of structures that are not periodic in all directions: "
            "training leaves them out from the next round on; label.other_method: relabel labels them again"
        )
    if waived := summary.get("n_surface_rule_waived"):
        lines.append(f"  {waived_line(waived)}")
    if summary["other_method"] is not None:
        lines.append(f"  labels of another method: {_other_labels(summary)}")
    if summary.get("n_consolidations") or summary.get("n_discarded_consolidations"):
        lines.append(_consolidations_line(summary))
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


def _consolidations_line(summary: dict[str, Any]) -> str:
    """How often all data were learned together, and what share of the time that took."""
    discarded = (
        f", {summary['n_discarded_consolidations']} more discarded" if summary["n_discarded_consolidations"] else ""
    )
    share = summary["consolidation_s"] / summary["wall_s"] if summary["wall_s"] else 0.0
    return f"  all labels learned together {counted(summary['n_consolidations'], 'time')}{discarded}: {share:.1%} of the time"


def _first(summary: dict[str, Any]) -> str:
    if n := summary["n_dataset_structures"]:
        return f"{n} from the dataset"
    if n := summary["n_carried_structures"]:
        return f"{n} from the earlier campaign"
    return f"{summary['n_bootstrap_labels']} for the bootstrap"


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


def waived_line(n: int) -> str:
    """Say of how many labels the cell lacks a surface.

    Examples
    --------
    >>> print(waived_line(1))
    1 label is of a cell without the empty space that its centre looks into (crop.waive_surface_rule)
    """
    are, centre = ("is of a cell", "its centre looks") if n == 1 else ("are of cells", "their centres look")
    return f"{counted(n, 'label')} {are} without the empty space that {centre} into (crop.waive_surface_rule)"


def correlation_words(correlation: float | None, n: int) -> str:
    """A rank correlation over ``n`` centres, with a word where these are too few for it.

    Examples
    --------
    >>> correlation_words(0.461, 29), correlation_words(1.0, 2), correlation_words(None, 1)
    ('0.46', '1.00 (too few to tell)', 'undefined')
    """
    if correlation is None:
        return "undefined"
    return f"{correlation:.2f}" + (" (too few to tell)" if n < _FEW_CENTRES else "")


def evaluation_line(entry: dict[str, Any]) -> str:
    """Write one stage of the evaluation, an entry of a summary's ``evaluation``, as a line; signed errors are in brackets.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> from idealflow.report import summarise
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


def _calibration_line(calibration: dict[str, Any]) -> str:
    shown = correlation_words(calibration["rank_correlation"], calibration["n"])
    bins = ", ".join(
        f"{_bin(entry)}: {entry['force_error_meV_per_A']:.0f} meV/Å ({entry['n']})" for entry in calibration["bins"]
    )
    line = f"  uncertainty against force error at {calibration['n']} labelled centres: rank correlation {shown}; by u/τ {bins}"
    return line if calibration["warning"] is None else f"{line}\n  warning: {calibration['warning']}"


def _bin(entry: dict[str, Any]) -> str:
    return f"≥ {entry['from']:g}" if entry["to"] is None else f"{entry['from']:g}–{entry['to']:g}"


def _of_the_start(summary: dict[str, Any]) -> list[str]:
    """A line on pretrained weights, if the campaign began with some."""
    start = summary.get("pretrained")
    if start is None:
        return []
    shift = start["force_shift_last_meV_per_A"]
    moved = "" if shift is None else f"; since then forces outside the campaign have moved by {shift:.1f} meV/Å"
    return [f"  began from the weights {start['weights']}{moved}"]


def carried_words(structure: Mapping[str, Any]) -> str:
    """Say which charge, spin and magnetic moments a label was computed with; empty where the structure carries none.

    Parameters
    ----------
    structure
        Fields of a stored structure: ``charge`` (e), ``spin`` (multiplicity 2S + 1), ``moments`` (μB).

    Examples
    --------
    >>> carried_words({"charge": -1.0, "spin": 2.0})
    'total charge −1 e, spin multiplicity 2'
    >>> carried_words({"moments": [2.2, 2.2, 0.0]})
    'initial moments on 2 of 3 atoms, 4.4 μB in all'
    >>> carried_words({})
    ''
    """
    words = []
    if structure.get("charge") is not None:
        words.append(f"total charge {structure['charge']:+g} e".replace("-", "\N{MINUS SIGN}"))
    if structure.get("spin") is not None:
        words.append(f"spin multiplicity {structure['spin']:g}")
    if structure.get("moments") is not None:
        moments = structure["moments"]
        total = f"{sum(moments):g}".replace("-", "\N{MINUS SIGN}")
        words.append(
            f"initial moments on {sum(bool(one) for one in moments)} of {len(moments)} atoms, {total} μB in all"
        )
    return ", ".join(words)
