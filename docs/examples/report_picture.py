"""The gallery's second picture: part of a report page, as a headless Chromium draws it.

.venv/bin/idealflow run docs/examples/first.yaml --out first
.venv/bin/python docs/examples/report_picture.py first docs/gallery-report.png

Run it from the repository's root, where `apt-get install chromium` was done.
"""

import sys
import tempfile
from pathlib import Path

from workbench.browser import browser

folder, picture = sys.argv[1:]
page = Path(folder, "report.html").resolve()
with tempfile.TemporaryDirectory() as profile, browser(Path(profile)) as chromium:
    chromium.size(1200, 870)
    chromium.open(page.as_uri())
    chromium.wait("document.documentElement.dataset.ready && document.querySelector('#gallery').dataset.told")
    # the most uncertain one, standing still, below the top of the window
    chromium.run(
        "(async () => { const g = window.gallery; g.scene.turn(false); "
        "g.filters.order.value = 'uncertain'; g.drawList(); await g.pick(g.rows[0]); g.press(); "
        "document.querySelector('header').hidden = true; g.element.scrollIntoView(); })()"
    )
    chromium.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
    chromium.picture(Path(picture))
