"""The live page in a headless Chromium: it shows the campaign, a new round comes by itself, substructures open.

Skipped where no Chromium is found, with the reason; `make test-browser` makes that a failure.
"""

from __future__ import annotations

from pathlib import Path

from idealflow.provenance import Campaign, sample_campaign
from support.browser import find
from support.watching import commit_a_round, watching
from workbench.browser import browser

READY = "document.documentElement.dataset.ready"
TOLD = "document.querySelector('#gallery')?.dataset.told"


def test_a_new_round_appears_and_substructures_open(tmp_path: Path) -> None:
    find()
    folder = sample_campaign(tmp_path / "sample").folder.path
    docs = Campaign.open(folder).substructures()
    with watching(folder) as watch, browser(tmp_path / "profile") as chromium:
        chromium.size(1200)
        chromium.open(watch.address)
        chromium.wait(READY)
        assert chromium.run("document.querySelector('.live').textContent") == "● live"
        assert chromium.wait(TOLD) == docs[0].uuid
        chromium.click(f"[data-row='{len(docs) - 1}']")
        chromium.wait(f"{TOLD} === {docs[-1].uuid!r}")
        assert "Candidate cells" in chromium.run("document.querySelector('.story').textContent")
        # a select is no list: choose the order, then the first of the list is the most uncertain
        order = "document.querySelector('.filters label:last-child select')"
        chromium.run(f"{order}.value = 'uncertain'; {order}.dispatchEvent(new Event('change'))")
        worst = max(docs, key=lambda doc: doc.uncertainty)
        assert f"step {worst.step}, atom {worst.atom}" in chromium.run(
            "document.querySelector('.list button').textContent"
        )

        number = commit_a_round(folder)
        chromium.wait(f"document.documentElement.dataset.round === '{number}'")
        facts = "[...document.querySelectorAll('#head .fact')].find(fact => fact.querySelector('dt').textContent === 'rounds')"
        assert chromium.run(f"{facts}.querySelector('dd').textContent") == str(number)
        chromium.wait("document.querySelector('#gallery').textContent.includes('6 of 6 substructures')")
        assert chromium.run(TOLD) == docs[-1].uuid  # what was picked stays
        assert chromium.errors == []
        assert all(address.startswith((watch.address, "data:", "blob:")) for address in chromium.requests)
