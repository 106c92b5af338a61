"""Report page and summary of each campaign of a chain, kept in one compressed file; and the page of all that were kept.

The documentation unpacks the reports when it is built, and shows the summaries.
"""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from idealflow.provenance import CampaignChain
from idealflow.report import summarise, summary_text
from idealflow.report.page import rendered, report_data
from idealflow.storage import replacing

WORKFLOWS = Path(__file__).resolve().parents[1]
ENDING = "-reports.tar.xz"
#: sizes whose campaigns are called as no other
OWN_NAMES = ("paper", "million", "vacancy", "bulk")


def write_reports(chain: CampaignChain, file: Path) -> None:
    """Write the reports and the summaries, without the path of the folder in which the campaigns lie."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as draft, tarfile.open(draft, "w:xz", preset=9) as archive:
        for campaign in chain:
            texts = {"json": json.dumps(summarise(campaign), indent=1), "html": rendered(report_data(campaign))}
            for kind, text in texts.items():
                if campaign.folder is not None:
                    text = text.replace(f"{campaign.folder.path.parent}/", "")  # noqa: PLW2901  # what is kept is of no machine
                data, member = text.encode(), tarfile.TarInfo(f"{campaign.name}.{kind}")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))


def kept_files() -> list[Path]:
    """All files of reports, by system."""
    return sorted(WORKFLOWS.glob(f"*/results/*{ENDING}"))


def kept_texts(file: Path, kind: str) -> dict[str, str]:
    """Texts of a file by campaign: summaries (``json``) or report pages (``html``)."""
    with tarfile.open(file) as archive:
        members = [member for member in archive if member.name.endswith(f".{kind}")]
        return {member.name.removesuffix(f".{kind}"): _text(archive, member) for member in members}


def unpack(folder: Path) -> None:
    """Write all report pages into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in kept_files():
        for name, text in kept_texts(file, "html").items():
            (folder / page_of(name, file.name.removesuffix(ENDING))).write_text(text, encoding="utf-8")


def page_of(name: str, size: str) -> str:
    """File of a campaign's report page; campaigns of the paper's size have their names to themselves."""
    return f"{name}.html" if size in OWN_NAMES else f"{name}-{size}.html"


def summaries(system: str, size: str = "paper") -> str:
    """Summaries of a system's campaigns of a size as text, each with a link to its report."""
    results = WORKFLOWS / system / "results"
    file = results / f"{size}{ENDING}"
    ancestry: dict[str, Any] = {
        row["campaign"]: row for row in json.loads((results / f"{size}.json").read_text())["ancestry"]
    }
    parts = []
    for name, text in kept_texts(file, "json").items():
        row = ancestry[name]
        # of a campaign that no script ran there are the seconds of its stages alone
        hours = (
            f"{row['cpu_s'] / 3600:.2f} CPU hours" if row["cpu_s"] else f"{row['stages_s'] / 3600:.2f} hours of stages"
        )
        link = f'<a href="../reports/{page_of(name, size)}">report</a>'
        parts.append(f"**{name}**, {hours}, {link}\n\n```text\n{summary_text(json.loads(text)).rstrip()}\n```")
    return "\n\n".join(parts)


def _text(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    found = archive.extractfile(member)
    if found is None:
        raise ValueError(f"{archive.name!r} holds {member.name}, which is no file")
    return found.read().decode()
