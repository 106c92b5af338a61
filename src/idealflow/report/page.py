"""The report: one self-contained HTML page of a campaign, from its store alone."""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from idealflow.errors import ArtifactError
from idealflow.provenance import Campaign
from idealflow.report.pictures import Fetch, write_pictures
from idealflow.report.sections.blocks import note
from idealflow.report.sections.collect import SECTIONS
from idealflow.report.sections.gallery import Packing, columns, gallery_rows, learned_errors, most_telling, packed_json
from idealflow.report.sections.head import head
from idealflow.report.sections.lineage import Lineages
from idealflow.report.sections.remembered import Remembered
from idealflow.report.summary import summarise
from idealflow.storage import replacing

__all__ = ["rendered", "report_data", "web_file", "write_report"]

_MOST_TOLD = 300  # substructures whose candidates, trace and place in the frame are in the page
_PACKAGE, _WEB = "idealflow.report", "web"
_LIBRARIES = (
    "vendor/plotly-cartesian.min.js",
    "vendor/3Dmol-min.js",
    "base.js",
    "blocks.js",
    "viewer.js",
    "gallery.js",
)


def write_report(campaign: Campaign, fetch: Fetch, page: Path, figures: Path | None) -> Path:
    """Write one self-contained page of a campaign, whether it runs, is paused, finished or failed, and its figures as pictures.

    Parameters
    ----------
    campaign
        What to report.
    fetch
        Function that returns the local path of an artifact.
    page
        HTML file to write.
    figures
        Folder for PNG files of the main figures; None: none.

    Returns
    -------
    Path
        ``page``.

    Examples
    --------
    >>> import tempfile
    >>> from idealflow.provenance.folder_documents import FolderDocuments
    >>> from idealflow.storage import Table
    >>> folder = Path(tempfile.mkdtemp())
    >>> Table.opened(folder / "store.sqlite").close()
    >>> campaign = Campaign(FolderDocuments(folder / "store.sqlite"), "cu-melt")
    >>> page = write_report(campaign, campaign.fetch, folder / "report.html", folder / "figures")
    >>> "The bootstrap is under way" in page.read_text()
    True
    """
    if figures is not None:
        write_pictures(campaign, fetch, figures)
    text = rendered(report_data(campaign))
    with replacing(page) as draft:
        draft.write_text(text, encoding="utf-8")
    return page


def report_data(campaign: Campaign, *, most_told: int = _MOST_TOLD) -> dict[str, Any]:
    """Gather all that the page shows, as a dictionary that JSON can hold.

    Parameters
    ----------
    campaign
        The campaign.
    most_told
        For how many substructures to add candidates, relaxation and place in the frame; coordinates are there for all.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> data = report_data(sample_campaign())
    >>> data["status"], [section["title"] for section in data["sections"]][:2], data["gallery"]["packed"]["count"]
    ('finished', ['Learning', 'Dynamics'], 5)
    """
    campaign = Remembered(campaign)
    top_notes = []
    try:
        summary = summarise(campaign, recompute=True)
    except ArtifactError as error:  # a model of an earlier version is gone
        top_notes.append(note(f"Errors before learning that are not stored cannot be computed: {error}.", warning=True))
        summary = summarise(campaign)
    if campaign.folder is not None:
        summary = campaign.folder.with_pause(summary)
    top = head(summary)
    top.add(*top_notes)
    return {
        "head": top.as_json(),
        "status": summary["status"],
        "sections": [make(campaign, summary).as_json() for make in SECTIONS.values()],
        "gallery": _gallery(campaign, most_told),
        "footer": f"Written by idealflow {version('idealflow')} from the campaign's store. All of it is in this page.",
    }


def _gallery(campaign: Campaign, most_told: int) -> dict[str, Any]:
    rows, errors = gallery_rows(campaign), learned_errors(campaign)
    packing, lineages = Packing([row["uuid"] for row in rows]), Lineages(campaign, errors)
    packing.read(campaign)
    told = {rows[i]["uuid"]: lineages.of(rows[i]["uuid"]) for i in most_telling(rows, most_told)}
    return {"columns": columns(rows, errors), "packed": packing.as_json(), "details": packed_json(told)}


def rendered(data: dict[str, Any], scripts: Iterable[str] = ("report.js",)) -> str:
    """Write the page's HTML.

    Parameters
    ----------
    data
        What the page shows, as :func:`report_data` gives it.
    scripts
        Files of the page's own that draw it, after those that all pages have.

    Examples
    --------
    >>> page = rendered({"head": {"title": "</script><b>"}, "sections": []})
    >>> page.count("</script><b>"), "Campaign &lt;/script&gt;" in page
    (0, True)
    """
    pages = Environment(loader=PackageLoader(_PACKAGE, _WEB), autoescape=True, keep_trailing_newline=True)
    return pages.get_template("page.html").render(
        title=data["head"]["title"],
        style=web_file("style.css"),
        data=json.dumps(data, ensure_ascii=False, allow_nan=False).replace("<", "\\u003c"),
        scripts=[web_file(name) for name in (*_LIBRARIES, *scripts)],
    )


def web_file(name: str) -> str:
    """Read a file of the page: style, scripts, and the two libraries that draw.

    Examples
    --------
    >>> web_file("report.js").splitlines()[1]
    '// The report: everything is in the page.'
    """
    return Path(__file__).with_name(_WEB).joinpath(name).read_text(encoding="utf-8")
