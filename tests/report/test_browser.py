"""The report as a reader sees it: opened and clicked in a headless Chromium that has no network.

Skipped where no Chromium is found, with the reason; `make test-browser` makes that a failure.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from idealflow.provenance import Campaign
from idealflow.report import write_report
from support.browser import find
from support.stored import in_memory, many
from workbench.browser import Browser, browser

READY = "document.documentElement.dataset.ready"
TOLD = "document.querySelector('#gallery').dataset.told"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    find()
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def page(finished: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    find()
    campaign = Campaign.open(finished.folder)
    path = write_report(campaign, campaign.fetch, tmp_path_factory.mktemp("page") / "report.html", None)
    return path.as_uri()


def opened(chromium: Browser, page: str, width: int = 1200, *, dark: bool = False) -> Browser:
    chromium.size(width, dark=dark)
    chromium.open(page)
    chromium.wait(READY)
    chromium.wait(TOLD)
    return chromium


def test_the_page_opens_and_its_first_substructure_turns(chromium: Browser, page: str) -> None:
    opened(chromium, page)
    assert chromium.run("document.querySelector('h1').textContent").startswith("Campaign tiny")
    assert chromium.run("document.querySelector('#gallery .buttons button').getAttribute('aria-pressed')") == "true"
    view = "document.querySelector('#gallery canvas')"
    assert chromium.run(f"{view}.width > 200 && {view}.height > 200")
    # the scene is drawn anew, without anybody touching it
    scene = "document.querySelector('#gallery .scene canvas').toDataURL()"
    before = chromium.run(f"new Promise(done => requestAnimationFrame(() => done({scene})))")
    chromium.wait(f"new Promise(done => requestAnimationFrame(() => done({scene}))).then(now => now !== {before!r})")
    assert chromium.errors == []


def test_all_figures_are_drawn_and_nothing_is_fetched(chromium: Browser, page: str) -> None:
    opened(chromium, page)
    chromium.run("document.querySelectorAll('.plot').forEach(plot => paint(plot))")
    assert chromium.run("document.querySelectorAll('.plot').length") >= 16
    assert (
        chromium.run(
            "[...document.querySelectorAll('.plot')].filter(p => !p.querySelector('.main-svg')).map(p => p.id)"
        )
        == []
    )
    assert chromium.run("document.querySelectorAll('#plot-temperature .scatterlayer .trace').length") == 2
    assert [address for address in chromium.requests if not address.startswith(("file:", "data:", "blob:"))] == []
    assert chromium.errors == []


def test_clicks_pick_and_filter(chromium: Browser, page: str, finished: Any) -> None:
    opened(chromium, page)
    docs = Campaign.open(finished.folder).substructures()
    other = docs[-1]
    chromium.click(f"[data-row='{len(docs) - 1}']")
    chromium.wait(f"{TOLD} === {other.uuid!r}")
    assert (
        chromium.run("document.querySelector('#gallery h3').textContent")
        == f"Step {other.step}, atom {other.atom} ({other.species})"
    )
    story = chromium.run("document.querySelector('.story').textContent")
    assert f"{other.n_atoms} atoms" in story
    assert "Candidate cells" in story
    chromium.click("#gallery .buttons button:nth-child(3)")  # in the frame
    chromium.wait("document.querySelector('#gallery').dataset.scene === 'frame'")
    chromium.click("#gallery .buttons button:nth-child(3)")
    chromium.wait("document.querySelector('#gallery').dataset.scene === 'cell'")
    find = "document.querySelector('input[type=search]')"
    chromium.run(f"{find}.value = '{other.atom}'; {find}.dispatchEvent(new Event('input'))")
    expected = [doc for doc in docs if other.atom in (doc.step, doc.atom)]
    assert chromium.run("document.querySelectorAll('.list li').length") == len(expected)
    assert chromium.errors == []


def test_hints_explain_words(chromium: Browser, page: str) -> None:
    opened(chromium, page)
    chromium.click("#head .fact:nth-child(3) .hint")
    assert "dynamics until a frame triggers" in chromium.wait("document.querySelector('#tip')?.textContent")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_a_narrow_screen_does_not_scroll_sideways(chromium: Browser, page: str, dark: bool) -> None:
    opened(chromium, page, 420, dark=dark)
    assert chromium.run("document.documentElement.scrollWidth") == 420
    background = chromium.run("getComputedStyle(document.body).backgroundColor")
    light = sum(int(part) for part in background[4:-1].split(",")) > 380
    assert light is not dark
    smallest = chromium.run(
        "Math.min(...[...document.querySelectorAll('main p, main dd, main dt, main td, main button:not(.hint)')]"
        ".filter(e => e.offsetParent).map(e => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert smallest >= 12


def test_substructures_without_lineage_are_shown_and_say_so(chromium: Browser, tmp_path: Path) -> None:
    campaign = in_memory(many(80))
    path = write_report(campaign, campaign.fetch, tmp_path / "many.html", None)
    opened(chromium, path.as_uri())
    assert chromium.run("document.querySelector('#gallery').textContent").count("400 of 400 substructures") == 1
    bare = chromium.run(
        "(async () => "
        "{ const g = window.gallery; for (let i = 0; i < 400; i++) if (!await g.source.detail(g.c.uuid[i])) return i; })()"
    )
    chromium.run(f"window.gallery.pick({bare})")
    assert "idealflow watch" in chromium.wait("document.querySelector('.story .missing')?.textContent")
    assert chromium.run("window.gallery.atoms.numbers.length") == chromium.run(f"window.gallery.c.n_atoms[{bare}]")
    assert chromium.errors == []
