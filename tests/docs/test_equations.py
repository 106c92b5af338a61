"""Displayed equations have no scroll bar that they do not need, in a Chromium that draws scroll bars."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.browser import find
from workbench.browser import Browser, browser

STYLE = Path(__file__).parents[2] / "docs" / "_static" / "pages.css"
#: what the theme has for all equations
THEME = ".math-wrapper { overflow-x: auto; width: 100% } .math { position: relative; text-align: center }"
EQUATION = """<div class="math-wrapper"><div class="math"><math display="block"><msqrt><mfrac><mn>8</mn>
<mrow><mn>2</mn><mi>l</mi></mrow></mfrac></msqrt><munder><mo>∑</mo><mi>j</mi></munder><msup><mi>e</mi><msup><mi>r</mi><mn>2</mn></msup></msup></math></div></div>"""
TALLER = "document.querySelector('.math-wrapper').scrollHeight - document.querySelector('.math-wrapper').clientHeight"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    find()
    with browser(tmp_path_factory.mktemp("profile"), scroll_bars=True) as found:
        yield found


@pytest.mark.parametrize("width", [1200, 420])
@pytest.mark.parametrize(("style", "scrolls"), [("", True), (STYLE.read_text(), False)], ids=["theme", "ours"])
def test_equations_have_room(chromium: Browser, tmp_path: Path, style: str, scrolls: bool, width: int) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><style>{THEME} {style}</style><body>{EQUATION}")
    chromium.size(width)
    chromium.open(page.as_uri())
    chromium.wait("document.readyState === 'complete' && document.querySelector('.math-wrapper') !== null")
    assert (chromium.run(TALLER) > 0) is scrolls
