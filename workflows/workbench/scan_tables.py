"""Tables and the figure of a scan of temperatures: where energy and density jump, and how far the model is from its reference."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from workbench.legends import SOURCES, stacked
from workbench.markdown import markdown, thousands

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: how many times the residual of one line has to be that of two lines before a jump is called one
CLEAR = 2.0


def jumps(found_jumps: list[dict[str, Any]]) -> str:
    """Where density and energy jump in the scan of temperatures, K; in brackets how clearly, and by how much."""
    units = {"density": ("g/cm³", 3), "energy": ("meV/atom", 0)}
    heads = ["", "atoms", *(f"by the {what} (clarity; {unit})" for what, (unit, _) in units.items())]
    found: dict[tuple[str, int], list[str]] = {}
    for row in found_jumps:
        place = f"{row['temperature']:.0f} ± {row['uncertainty']:.0f}" if row["significance"] >= CLEAR else "none"
        cell = f"{place} ({row['significance']:.1f}; {row['size']:+.{units[row['what']][1]}f})"
        found.setdefault((row["by"], row["n_atoms"]), []).append(cell)
    rows = [[SOURCES[by], str(n), *reversed(cells)] for (by, n), cells in found.items()]
    return markdown(heads, rows)


def differences(ladder: list[dict[str, Any]], found_jumps: list[dict[str, Any]]) -> str:
    """Last model less reference along the scan: mean, and the largest of one temperature; not of those at which the two melt."""
    heads = ["atoms", "energy of the crystal, meV/atom", "of the liquid", "density of the crystal, %", "of the liquid"]
    rows = []
    for n in sorted({row["n_atoms"] for row in ladder if row["by"] == "reference"}):
        by = {(row["by"], row["target"]): row for row in ladder if row["n_atoms"] == n}
        jumps_at = [row for row in found_jumps if row["n_atoms"] == n and row["what"] == "energy"]
        first = min(row["temperature"] - row["uncertainty"] for row in jumps_at)  # the last at which both are solid
        last = max(row["temperature"] + row["uncertainty"] for row in jumps_at)
        targets = [target for name, target in by if name == "reference"]
        parts = ([t for t in targets if t <= first], [t for t in targets if t > last])
        cells = []
        for what in ("energy", "density"):
            for part in parts:
                pairs = [(by["last", t][what], by["reference", t][what]) for t in part]
                off = [100 * (a / b - 1) if what == "density" else a - b for a, b in pairs]
                cells.append(f"{sum(off) / len(off):+.1f} ({max(off, key=abs):+.1f})")
        rows.append([thousands(n), *cells])
    return markdown(heads, rows)


def figure(ladder: list[dict[str, Any]]) -> Figure:
    """Density and energy along temperatures."""
    drawn, axes = stacked(2, (5.0, 5.0), sharex=True)
    styles = {"reference": {"marker": "o", "ls": "-"}, "last": {"marker": "x", "ls": "--"}}
    sizes = sorted({row["n_atoms"] for row in ladder})
    for n, by in sorted({(row["n_atoms"], row["by"]) for row in ladder}):
        rows = [row for row in ladder if (row["by"], row["n_atoms"]) == (by, n)]
        style = {**styles[by], "color": f"C{sizes.index(n)}", "label": f"{SOURCES[by]}, {thousands(n)} atoms"}
        for axis, what in zip(axes, ("density", "energy"), strict=True):
            axis.plot([row["target"] for row in rows], [row[what] for row in rows], lw=1, ms=5, **style)
    axes[0].set(ylabel="density, g/cm³")
    axes[1].set(ylabel="energy, meV/atom", xlabel="temperature, K")
    axes[0].legend(frameon=False)
    return drawn
