"""Draw docs/overview.png from what the notebook of the core computes: python docs/make_overview.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import nbformat
from PIL import Image

HERE = Path(__file__).parent


def notebook_results() -> dict[str, Any]:
    """Names that the notebook defines up to its picture of the substructure."""
    mpl.use("agg")
    names: dict[str, Any] = {}
    for cell in nbformat.read(HERE.parent / "notebooks" / "core.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            exec(cell.source, names)  # noqa: S102  # our own notebook
            if "ides =" in cell.source:
                break
    return names


def main() -> None:
    """Frame, crop in a box, substructure; each a layer through the uncertain atom."""
    found = notebook_results()
    plt, draw = found["plt"], found["draw"]
    plt.close("all")
    fig, axes = plt.subplots(1, 3, figsize=(11, 3.9), width_ratios=[1.2, 1, 1], layout="constrained")
    frame, box, ides = found["frame"], found["box"], found["ides"]
    draw(axes[0], frame, found["seen"].values, found["centre"], f"frame: {len(frame)} atoms and a vacancy")
    draw(axes[1], box.atoms, box.values, box.centre, f"a box around it: {len(box.atoms)} atoms")
    draw(axes[2], ides.atoms, ides.values, ides.centre, f"substructure: {len(ides.atoms)} atoms")
    scale = plt.cm.ScalarMappable(found["norm"], "viridis")
    fig.colorbar(scale, ax=axes, label="uncertainty (1 = known)", shrink=0.8)
    fig.savefig(HERE / "overview.png", dpi=110)
    with Image.open(HERE / "overview.png") as picture:
        small = picture.convert("RGB").quantize(128)
    small.save(HERE / "overview.png", optimize=True)


if __name__ == "__main__":
    main()
