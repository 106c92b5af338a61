"""The gallery's first picture: two of the report's, side by side.

.venv/bin/idealflow run docs/examples/first.yaml --out first
.venv/bin/python docs/examples/gallery_picture.py first docs/gallery-first.png

Run it from the repository's root.
"""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from idealflow import Campaign
from idealflow.report.figures import labels_figure, uncertainty_figure

folder, picture = sys.argv[1:]
campaign = Campaign.open(folder)
log = campaign.log()
steps = [doc.step for doc in campaign.substructures(state="accepted")]
met = log[np.isfinite(log["first_uncertainty"])].assign(max_uncertainty=lambda rows: rows["first_uncertainty"])
with TemporaryDirectory() as scratch:
    paths = [Path(scratch) / name for name in ("uncertainty.png", "labels.png")]
    uncertainty_figure(met, paths[0], threshold=campaign.state().threshold, label_steps=steps)
    labels_figure(steps, paths[1], n_steps=int(log["step"].max()))
    parts = [Image.open(path).convert("RGB") for path in paths]
    both = Image.new("RGB", (sum(part.width for part in parts), max(part.height for part in parts)), "white")
    both.paste(parts[0], (0, 0))
    both.paste(parts[1], (parts[0].width, 0))
both.save(picture)
