"""What went wrong: failed labels and quarantined centres with their causes, rejected updates, blow-ups."""

from __future__ import annotations

from collections import Counter
from typing import Any

from idealflow.provenance import Campaign
from idealflow.report.sections.blocks import Section, note, table

__all__ = ["troubles"]

_MOST_ROWS = 500
_FAILED = ("walker", "step", "atom", "species", "attempt", "uncertainty", "n_atoms", "round", "cause")


def troubles(campaign: Campaign, summary: dict[str, Any]) -> Section:
    """Everything that failed, with its cause.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> troubles(sample_campaign(), {}).blocks[0]["text"]
    'Nothing failed: every label was made, and every update was accepted.'
    """
    about = (
        "A failed label is tried again on the next best cell; where all fail, its atom is quarantined and asks no more."
    )
    section = Section("troubles", "Failures", about)
    if too_few := summary.get("too_few_environments"):
        from idealflow.report.wording import too_few_line

        section.add(note(f"{too_few_line(too_few)}.", warning=True))
    failed = campaign.outputs("substructure", _FAILED, state="failed")
    causes = Counter(str(row["cause"]) for row in failed)
    _add_first_failures(campaign, causes)
    if causes:
        rows = [[cause, count] for cause, count in causes.most_common()]
        section.add(table("Causes", "Why labels failed, every attempt counted.", [("cause", ""), ("labels", "")], rows))
    if failed:
        failed.sort(key=lambda row: (row["round"], row["step"], row["atom"], row["attempt"]))
        shown = failed[-_MOST_ROWS:]
        columns = [("round", ""), ("walker", ""), ("MD step", ""), ("atom", "of the frame"), ("species", ""),
                   ("attempt", "which cell of the centre, best first, from 0"),
                   ("uncertainty", "of the atom in the frame; 1 is known"),
                   ("atoms", "of the cell"), ("cause", "")]  # fmt: skip
        names = ("round", "walker", "step", "atom", "species", "attempt", "uncertainty", "n_atoms", "cause")
        hint = "" if len(shown) == len(failed) else f"The last {len(shown)} of {len(failed)}."
        section.add(table("Failed labels", hint, columns, [[row[name] for name in names] for row in shown]))
    _add_updates(campaign, section)
    _add_blow_ups(campaign, section)
    if not section.blocks:
        section.add(note("Nothing failed: every label was made, and every update was accepted."))
    return section


def _add_first_failures(campaign: Campaign, causes: Counter[str]) -> None:
    """Count what failed outside of the rounds: labels of the bootstrap, of relabelling and of the evaluation."""
    for kind in ("bootstrap", "relabel", "evaluation"):
        for output in campaign.outputs(kind, ("failed",)):
            causes.update(str(cause) for cause in (output.get("failed") or {}).values())


def _add_updates(campaign: Campaign, section: Section) -> None:
    updates = sorted(
        campaign.outputs("update", ("round", "decision", "reason", "quarantined")), key=lambda update: update["round"]
    )
    quarantined = [[update["round"], _place(key)] for update in updates for key in update["quarantined"]]
    if quarantined:
        columns = [("round", ""), ("atom", "which does not trigger again until labeller or model settings change")]
        section.add(
            table(
                "Quarantined", "Atoms whose every attempt failed, or that a rejected update held.", columns, quarantined
            )
        )
    rejected = [[update["round"], update["reason"]] for update in updates if update["decision"] == "rejected"]
    if rejected:
        hint = (
            "Updates that made the model worse on held-out structures; they were thrown away, and their labels wait for the next "
            "training on all data, if there is one (update.consolidate_every)."
        )
        section.add(table("Rejected updates", hint, [("round", ""), ("why", "")], rejected))


def _add_blow_ups(campaign: Campaign, section: Section) -> None:
    blown = campaign.outputs("segment", ("round", "walker", "last_step", "detail"), reason="blow_up")
    if blown:
        rows = [[entry["round"], entry["walker"], entry["last_step"], entry["detail"]] for entry in blown]
        columns = [("round", ""), ("walker", ""), ("last good MD step", ""), ("what blew up", "")]
        section.add(
            table("Blow-ups", "The walker went back to its last good frame, which was labelled first.", columns, rows)
        )


def _place(key: str) -> str:
    """A request key in words."""
    parts = {part[0]: part[1:].lstrip("0") or "0" for part in key.split("/")[1:] if part[1:].isdigit()}
    if not {"w", "s", "a"} <= set(parts):
        return key
    again = f", asked for again in round {parts['r']}" if "r" in parts else ""
    return f"atom {parts['a']} at step {parts['s']} of walker {parts['w']}{again}"
