"""Whether the built pages are read well: at the width of a screen and of a phone, in light and in dark colours.

    make docs
    python workflows/checks/pages.py [--pages docs/_build/html] [--pictures FOLDER]

Opens every page in a headless Chromium and names what stands out: a page that scrolls sideways, an equation with a scroll
bar that it does not need, an equation that is cut off, an error that the page reports. ``--pictures`` keeps a picture of
every page. Exits with 1 if anything is named.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from workbench.browser import Browser, browser

WIDTHS = (1200, 420)
LOOK = """(() => {
  const named = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) named.push(`scrolls sideways: ${root.scrollWidth} of ${root.clientWidth} pixels`);
  for (const wrapper of document.querySelectorAll('.math-wrapper, div.math')) {
    const text = wrapper.textContent.trim().slice(0, 40), style = getComputedStyle(wrapper);
    const scrolls = (overflow) => overflow === 'auto' || overflow === 'scroll';
    if (scrolls(style.overflowY) && wrapper.scrollHeight > wrapper.clientHeight)
      named.push(`equation ${text}: a vertical scroll bar, ${wrapper.scrollHeight} of ${wrapper.clientHeight} pixels`);
    if (scrolls(style.overflowX) && wrapper.scrollWidth > wrapper.clientWidth && window.innerWidth > 1000)
      named.push(`equation ${text}: a horizontal scroll bar, ${wrapper.scrollWidth} of ${wrapper.clientWidth} pixels`);
    if (style.overflowY === 'hidden' && wrapper.scrollHeight > wrapper.clientHeight)
      named.push(`equation ${text}: cut off, ${wrapper.scrollHeight} of ${wrapper.clientHeight} pixels`);
    if (!scrolls(style.overflowX) && wrapper.scrollWidth > wrapper.clientWidth && !wrapper.closest('.math-wrapper'))
      named.push(`equation ${text}: cut off, ${wrapper.scrollWidth} of ${wrapper.clientWidth} pixels`);
  }
  return named;
})()"""


def look(chromium: Browser, page: Path, pictures: Path | None) -> list[str]:
    """What stands out on a page, in words."""
    found = []
    for width in WIDTHS:
        for dark in (False, True):
            chromium.size(width, dark=dark)
            chromium.open(page.as_uri())
            chromium.wait("document.readyState === 'complete'")
            where = f"{width} pixels, {'dark' if dark else 'light'}"
            found += [f"{where}: {one}" for one in [*chromium.run(LOOK), *chromium.errors]]
            if pictures is not None:
                name = f"{page.stem}-{width}-{'dark' if dark else 'light'}.png"
                chromium.picture(pictures / name, whole=True)
    return found


def main() -> None:
    """Look at all pages and print what stands out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=Path, default=Path("docs/_build/html"))
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="parts of names of pages")
    arguments = parser.parse_args()
    pages = [page for page in sorted(arguments.pages.resolve().rglob("*.html")) if "generated" not in page.parts]
    if not pages:
        raise SystemExit(f"no pages in {arguments.pages}: make docs")
    chosen = [page for page in pages if not arguments.only or any(part in str(page) for part in arguments.only)]
    if arguments.pictures is not None:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
    n_found = 0
    with tempfile.TemporaryDirectory() as profile, browser(Path(profile), scroll_bars=True) as chromium:
        for page in chosen:
            for one in look(chromium, page, arguments.pictures):
                n_found += 1
                print(f"{page.relative_to(arguments.pages.resolve())}: {one}", flush=True)
    print(f"{len(chosen)} pages, {n_found} things that stand out")
    raise SystemExit(1 if n_found else 0)


if __name__ == "__main__":
    main()
