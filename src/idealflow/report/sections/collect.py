"""All sections of a campaign's report, by name: the page holds them all, the live page asks for one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from idealflow.provenance import Campaign
from idealflow.report.sections.about import about
from idealflow.report.sections.accuracy import accuracy
from idealflow.report.sections.blocks import Section
from idealflow.report.sections.cost import cost
from idealflow.report.sections.dynamics import dynamics
from idealflow.report.sections.environments import environments
from idealflow.report.sections.learning import learning
from idealflow.report.sections.troubles import troubles

__all__ = ["SECTIONS"]

#: name → how it is made of the campaign and its summary, in the order of the page
SECTIONS: dict[str, Callable[[Campaign, dict[str, Any]], Section]] = {
    "learning": lambda campaign, _: learning(campaign),
    "dynamics": lambda campaign, _: dynamics(campaign),
    "accuracy": accuracy,
    "environments": lambda campaign, _: environments(campaign),
    "cost": cost,
    "troubles": troubles,
    "about": about,
}
