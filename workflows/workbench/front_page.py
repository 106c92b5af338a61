"""What README.md and the front page of the documentation show of the paper's systems, made from stored results.

Both are read where nothing is built, on a code host, so the table stands in README.md as text, and pictures are files of the
documentation: `workflows/front_page.py` writes them, and a test holds them to what is stored.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from workbench.markdown import digits, markdown, thousands
from workbench.power_law import PowerLaw, frames_law, read

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WORKFLOWS = Path(__file__).resolve().parents[1]
ROOT = WORKFLOWS.parent
BEGIN, END = "<!-- the paper's systems: written by workflows/front_page.py -->", "<!-- end of the paper's systems -->"


class System(NamedTuple):
    """A row: the folder and size of its results, its name, its page, who labels, and whether GPAW's law is of its element."""

    folder: str
    size: str
    name: str
    page: str
    labelled_by: str
    lithium: bool


SYSTEMS = (
    System("li_melting", "quick", "Li: 9R, fcc and bcc melt", "li-melting", "SNAP", True),
    System("li_melting", "paper", "Li at the paper's size", "li-melting", "SNAP", True),
    System("li_polycrystal", "quick", "Li: two grains melt", "li-polycrystal", "SNAP", True),
    System("li_polycrystal", "paper", "Li: 20 grains of the paper's size melt", "li-polycrystal", "SNAP", True),
    System("li_polycrystal", "million", "Li: 20 grains of a million atoms, 640 fs", "li-polycrystal", "SNAP", True),
    System("al2o3", "quick", "Al₂O₃: cell, bulk and particle, to 9 000 K", "alumina", "Matsui's model", False),
    System("al2o3", "paper", "Al₂O₃ at the paper's size", "alumina", "Matsui's model", False),
    System("haber_bosch", "quick", "Ir₇₉ in N₂ and H₂, to 7 000 K", "haber-bosch", "7net-0", False),
    System(
        "haber_bosch", "paper", "Ir₂₀₁ and Ir₈₀₇ in N₂ and H₂, to 7 000 K, 60 ps", "haber-bosch", "7net-0 + ZBL", False
    ),
    System("cuau_order", "quick", "CuAu loses its order, by Monte Carlo", "cuau-order", "EMT", False),
    System("cuau_order", "paper", "CuAu in a larger cell", "cuau-order", "EMT", False),
    System("li_gpaw", "vacancy", "Li: a vacancy, 300 to 500 K", "li-gpaw", "**GPAW, PBE**", False),
    System("li_gpaw", "bulk", "Li: bcc, 300 to 600 K", "li-gpaw", "**GPAW, PBE**", False),
)
FAR = 100_000  # atoms from which the law of frames of at most 250 is not asked any more
#: pictures by the name of what :mod:`workbench.stored_results` draws: file in docs, caption, what is to be seen
PICTURES = {
    "li-polycrystal front paper": (
        "front-polycrystal.png",
        "[A lithium polycrystal](docs/systems/li-polycrystal.md#a-front) melts from its boundaries; a perfect one (dashed) stays",
        "Share of atoms in bcc against time to 520 K, by depth below the boundaries, and of a perfect crystal, which stays.",
    ),
    "haber-bosch bare paper": (
        "front-ammonia.png",
        "[Ammonia on iridium](docs/systems/haber-bosch.md#without-learning-at-the-papers-size): errors with and without learning",
        "Error of the energy by the step, for three starts, with learning, by the first model and by the last.",
    ),
    "cuau-order ladder paper": (
        "front-order.png",
        "[CuAu](docs/systems/cuau-order.md#a-larger-cell) loses its order with the reference; the first model knew order alone",
        "Order parameter against temperature by the first model, the last model and the reference.",
    ),
}


@cache
def stored(folder: str, size: str) -> dict[str, Any]:
    """What was measured of a system."""
    found: dict[str, Any] = json.loads((WORKFLOWS / folder / "results" / f"{size}.json").read_text())
    return found


@cache
def gpaw_law() -> PowerLaw:
    """Core-seconds of a label of lithium by GPAW, plane waves, Γ, against its atoms."""
    return frames_law(read(WORKFLOWS / "scaling" / "frames.jsonl"))


def block() -> str:
    """All that stands between the markers in README.md."""
    files = [(f"docs/{file}", caption, alt) for file, caption, alt in PICTURES.values()]
    pictures = markdown([caption for _, caption, _ in files], [[f"![{alt}]({file})" for file, _, alt in files]])
    return f"{BEGIN}\n{pictures}\n\n{systems_table()}\n{END}"


def written_into(text: str) -> str:
    """A page with the present block between its markers.

    Raises
    ------
    ValueError
        If the markers are not there once each.
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"the page needs the markers {BEGIN!r} and {END!r} once each")
    return re.sub(f"{re.escape(BEGIN)}.*{re.escape(END)}", lambda _: block(), text, flags=re.DOTALL)


def systems_table() -> str:
    """The systems: size, labels and their time, errors, and what labels of whole frames would have cost."""
    heads = [
        "system", "reference", "atoms", "steps", "labels, their time", "whole run", "error, meV/atom, meV/Å",
        "whole frames instead", "by GPAW's law",
    ]  # fmt: skip
    return markdown(heads, [row_of(system) for system in SYSTEMS])


def row_of(system: System) -> list[str]:
    """Sums over the campaigns of a system; errors are those of the last model on all frames drawn."""
    found = stored(system.folder, system.size)
    campaigns = found["ancestry"]
    sizes = sorted({row["n_atoms"] for row in campaigns})
    spent = [row["cpu_s"] or row.get("stages_s") for row in campaigns]
    return [
        f"[{system.name}](docs/systems/{system.page}.md)",
        system.labelled_by,
        thousands(sizes[0]) if len(sizes) == 1 else f"{sizes[0]}–{sizes[-1]}",
        thousands(sum(row["n_steps"] for row in campaigns)),
        f"{n_labels(found)}, {duration(sum(map(label_seconds, campaigns)))}",
        "–" if None in spent else duration(sum(spent)),
        errors_of(found),
        times(gain(campaigns)),
        "{} for {}".format(*map(duration, by_law(campaigns, found["labels"])))
        if system.lithium and sizes[-1] < FAR
        else "–",
    ]


def label_seconds(row: dict[str, Any]) -> float:
    """Seconds of a campaign's labels of substructures, by the mean of one (t_sub), without whole frames that evaluate a model."""
    return float(row["n_labelled_frames"] * row["L"] * row["t_sub_s"])


def n_labels(found: dict[str, Any]) -> str:
    """The labels of a system's campaigns; after a plus those of a first set that were made before, whose cost was not kept."""
    own = str(sum(row["n_own_labels"] for row in found["ancestry"]))
    first = sum(row["n"] for row in found.get("first_set", []))
    return f"{own} + {first}" if first else own


def errors_of(found: dict[str, Any]) -> str:
    """Errors of the last model: on whole frames, or of forces in the middle of a frame that is too large for the reference."""
    if "errors" not in found:
        (row,) = (row for row in found["middle"] if row["model"] == "last")
        return f"–, {row['force_mae']:.0f} of {thousands(row['force_rms'])}"
    errors = [row for row in found["errors"] if row["model"] == "last"]
    weights = [row["n_frames"] for row in errors]
    energy, force, size = (
        float(np.average([row[name] for row in errors], weights=weights))
        for name in ("energy_mae", "force_mae", "force_rms")
    )
    return f"{digits(energy, 2)}, {force:.0f} of {thousands(size)}"


def gain(campaigns: Sequence[dict[str, Any]]) -> float | None:
    """R_AL of a chain: what whole frames would have taken over what the substructures took, by the same reference."""
    if any(row["t_entire_s"] is None for row in campaigns):
        return None
    whole = sum(row["n_labelled_frames"] * row["t_entire_s"] for row in campaigns)
    return float(whole / sum(map(label_seconds, campaigns)))


def by_law(campaigns: Sequence[dict[str, Any]], labels: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Core-seconds of whole frames, and of substructures in their place, if each took what GPAW's law gives for its atoms."""
    law = gpaw_law()
    whole = sum(row["n_labelled_frames"] * law(row["n_atoms"]) for row in campaigns)
    return whole, sum(law(row["n_atoms"]) for row in labels)


def times(factor: float | None) -> str:
    """A factor of cost."""
    return "–" if factor is None else f"{digits(factor, 2)} times"


def duration(seconds: float) -> str:
    """Core time in seconds, minutes or hours."""
    size, unit = next(each for each in ((3600.0, "h"), (60.0, "min"), (0.0, "s")) if seconds >= each[0])
    return f"{digits(seconds / (size or 1.0), 2)} {unit}"


def drawn(picture: Figure) -> str:
    """A digest of what a picture shows: the points of all its lines, to six digits. Fonts and libraries are not in it."""
    found = hashlib.sha256()
    for axis in picture.axes:
        for line in axis.get_lines():
            points = np.asarray(line.get_xydata(), dtype=float)
            found.update("\n".join(f"{x:.6g} {y:.6g}" for x, y in points).encode())
    return found.hexdigest()[:16]
