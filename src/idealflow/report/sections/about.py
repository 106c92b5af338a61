"""How the campaign was made: settings in words, changes of them, seed, versions, dates."""

from __future__ import annotations

import platform
from datetime import datetime
from importlib.metadata import version
from typing import Any

from idealflow.errors import ArtifactError, InputError
from idealflow.provenance import Campaign
from idealflow.report.sections.blocks import Block, Section, missing, note, table
from idealflow.report.sections.settings_words import setting_name, setting_value

__all__ = ["about"]

_ROOMS = {
    "bootstrap": "First model",
    "segment": "Molecular dynamics",
    "screen": "Screening",
    "crop": "Crop search",
    "relax": "Relaxation",
    "label": "Labels",
    "update": "Model updates",
    "evaluation": "Evaluation",
}
_PLACES = ("artifacts", "work", "launchpad", "queues")


def about(campaign: Campaign, summary: dict[str, Any]) -> Section:
    """Settings, their changes, seed, versions and dates of a campaign.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> from idealflow.report import summarise
    >>> campaign = sample_campaign()
    >>> [row[0] for row in about(campaign, summarise(campaign)).blocks[0]["rows"]][:2]
    ['first document stored', 'last document stored']
    """
    section = Section("about", "How it was made", "All that is needed to make the campaign again.")
    section.add(_origin(campaign))
    if changes := summary.get("settings_changes"):
        rows = [[change["round"], setting_name(change["key"]), change["before"], change["after"]] for change in changes]
        columns = [("from round", ""), ("setting", ""), ("before", ""), ("after", "")]
        section.add(
            table("Settings that later runs changed", "Each with the first round for which it holds.", columns, rows)
        )
    section.add(*_settings(campaign))
    section.add(note("Drawn with plotly.js (MIT) and 3Dmol.js (BSD-3-Clause), both inside this page."))
    return section


def _origin(campaign: Campaign) -> Block:
    state = campaign.state()
    of = {"output.campaign": campaign.name}
    ends = [campaign.store.query_one(of, properties=["completed_at"], sort={"completed_at": way}) for way in (1, -1)]
    times = [None if end is None else str(end.get("completed_at"))[:19].replace("T", " ") for end in ends]
    versions = sorted(
        {str(output["@version"]) for output in campaign.outputs("state", ["@version"]) if "@version" in output}
    )
    writer = f"by idealflow {version('idealflow')}, Python {platform.python_version()}"
    rows = [
        ["first document stored", times[0], "local time of the machine"],
        ["last document stored", times[1], "local time of the machine"],
        ["documents", campaign.store.count(of), "of this campaign in the store"],
        ["idealflow", ", ".join(versions) or None, "versions that stored them"],
        ["seed", None if state is None else state.seed, "the same seed and type of processor give the same campaign to the bit"],
        ["threads", None if state is None else state.threads, "of numba and torch in the last round"],
        ["model file", None if state is None or state.learner is None else state.learner.force_field.sha256[:16],
         "first digits of the last force field's SHA-256"],
        ["this page", f"{datetime.now().astimezone():%Y-%m-%d %H:%M}", writer],
    ]  # fmt: skip
    return table("Origin", "", [("what", ""), ("value", ""), ("meaning", "")], rows)


def _settings(campaign: Campaign) -> list[Block]:
    try:
        settings = campaign.settings()
    except (InputError, ArtifactError) as error:
        return [missing("Settings", f"{error}.")]
    rooms: dict[str, list[list[str]]] = {}
    for key, value in sorted(settings.items()):
        if key not in _PLACES:
            room = _ROOMS.get(key.partition(".")[0], "Campaign") if "." in key else "Campaign"
            rooms.setdefault(room, []).append([setting_name(key), setting_value(key, value), key])
    columns = [("setting", ""), ("value", ""), ("in the config", "its place in the YAML file")]
    order = ["Campaign", *_ROOMS.values()]
    return [
        table(f"Settings: {room[0].lower()}{room[1:]}", "", columns, rooms[room]) | {"folded": True}
        for room in order
        if room in rooms
    ]
