"""The log of a campaign: a file in its folder with a line for each event, and for each failure its cause."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idealflow.report.wording import RELAXATION_ENDED, SEGMENT_ENDED
from idealflow.schemas import CampaignState
from idealflow.wording import counted
from idealflow.workflow.jobs.progress import Progress

if TYPE_CHECKING:
    from idealflow.provenance import Campaign

__all__ = ["EventLog", "lines_of_round"]

_PLACE = ("walker", "step", "atom", "attempt")


class EventLog:
    """Writes what happens to a file, each line with the time (UTC). Later runs of the campaign go on in the same file.

    What a round did is written when it is committed, from its documents: they have it all, whichever process did it.

    Parameters
    ----------
    path
        The file.
    campaign
        The campaign that is run.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> log = EventLog(Path("log.txt"), sample_campaign())
    >>> log(Progress("crop", message="atom 7: no crop"))
    >>> log.committed(sample_campaign().state())
    >>> lines = Path("log.txt").read_text().splitlines()
    >>> lines[0].split(maxsplit=1)[1], lines[-1].split(maxsplit=1)[1]
    ('crop: atom 7: no crop', 'round 8 is committed: 5 substructures, 0 failed labels, model 4')
    """

    def __init__(self, path: Path, campaign: Campaign) -> None:
        self._path, self._campaign = path, campaign
        self._took = ""

    def __call__(self, event: Progress) -> None:
        """Write an event that has a message; steps and counts are for the display alone."""
        if event.stage == "round":
            self._took = event.message
        elif event.message:
            self._write([f"{event.stage}: {event.message}"])

    def committed(self, state: CampaignState) -> None:
        """Write what the round did that this state ends."""
        version = None if state.learner is None else state.learner.version
        end = (
            f"round {state.round} is committed: {counted(state.n_substructures, 'substructure')}, "
            f"{counted(state.n_failed_labels, 'failed label')}, model {version}"
        )
        took = f" ({self._took})" if self._took else ""
        self._write([*lines_of_round(self._campaign, state.round - 1), end + took])

    def _write(self, lines: list[str]) -> None:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(f"{now} {' '.join(line.split())}\n" for line in lines)


def lines_of_round(campaign: Campaign, number: int) -> Iterator[str]:
    """Say what each stage of a round did, with its time; of failed labels and refused updates also why.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> [line.partition(",")[0] for line in lines_of_round(sample_campaign(), 3)][:2]
    ['segment: walker 0 from step 40 to 50', 'screen: walker 0 at step 50']
    """

    def outputs(kind: str, *names: str) -> list[dict[str, Any]]:
        found = campaign.outputs(kind, [*names, "seconds"], round=number)
        return sorted(found, key=lambda each: [each.get(name) or 0 for name in _PLACE])

    for each in outputs("segment", "walker", "first_step", "last_step", "reason", "detail"):
        why = SEGMENT_ENDED.get(each["reason"], each["reason"]) + (f" ({each['detail']})" if each.get("detail") else "")
        yield f"segment: walker {each['walker']} from step {each['first_step']} to {each['last_step']}, {why}{_time(each)}"
    for each in outputs("screen", "walker", "step", "n_triggering", "max_uncertainty", "threshold"):
        asked = f"{counted(each['n_triggering'], 'atom')} asked for a label"
        yield (
            f"screen: walker {each['walker']} at step {each['step']}, {asked}, highest uncertainty "
            f"{each['max_uncertainty']:.2f} of {each['threshold']:.2f}{_time(each)}"
        )
    for each in outputs("crop", "walker", "step", "atom", "centre_uncertainty", "failure"):
        failure = f", failed: {each['failure']}" if each.get("failure") else ""
        yield f"crop: {_place(each)}, uncertainty {each['centre_uncertainty']:.2f}{failure}{_time(each)}"
    for each in outputs("relaxation", *_PLACE, "reason", "uncertainty_before", "uncertainty_after"):
        known = (each.get("uncertainty_before"), each.get("uncertainty_after"))
        shell = "" if None in known else f", shell {known[0]:.2f} → {known[1]:.2f}"
        why = RELAXATION_ENDED.get(each["reason"], each["reason"])
        yield f"relax: {_place(each)}, {why}{shell}{_time(each)}"
    for kind in ("label", "substructure"):
        for each in outputs(kind, "request_key", "state", "cause", "n_atoms", "method", "reused_from"):
            ended = f"failed: {each['cause']}" if each["state"] == "failed" else "accepted"
            again = ", the stored one of the same structure" if each.get("reused_from") else ""
            what = f"{each['request_key']}, {counted(each['n_atoms'], 'atom')} by {each['method']}"
            yield f"label: {what}{again}, {ended}{_time(each)}"
    for each in outputs("bootstrap", "n_structures", "threshold"):
        yield f"bootstrap: first model from {each['n_structures']} structures, threshold {each['threshold']:.2f}{_time(each)}"
    for each in outputs("update", "version_after", "decision", "reason", "new_before", "new_after"):
        change = _change("the new labels", each.get("new_before"), each.get("new_after"))
        decision = each["decision"].replace("_", " ")
        yield f"update: {decision}, model {each['version_after']}: {each['reason']}{change}{_time(each)}"
    for each in outputs("consolidation", "version_after", "decision", "reason", "all_before", "all_after"):
        change = _change("all labels", each.get("all_before"), each.get("all_after"))
        yield f"consolidation: {each['decision']}, model {each['version_after']}: {each['reason']}{change}{_time(each)}"
    for each in outputs("evaluation", "failed"):
        causes = "".join(f", {frame} failed: {cause}" for frame, cause in each["failed"].items())
        yield f"evaluation: whole frames against the reference{causes}{_time(each)}"


def _change(of: str, before: dict[str, float] | None, after: dict[str, float] | None) -> str:
    """How the error of the forces on some labels has changed."""
    if before is None or after is None:
        return ""
    return f", force error of {of} {before['forces']:.3f} → {after['forces']:.3f} eV/Å"


def _place(output: dict[str, Any]) -> str:
    words = [f"{name} {output[name]}" for name in _PLACE if name in output and (name != "attempt" or output[name])]
    return " ".join(words)


def _time(output: dict[str, Any]) -> str:
    return "" if output.get("seconds") is None else f" ({output['seconds']:.3g} s)"
