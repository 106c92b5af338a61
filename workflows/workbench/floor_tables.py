"""What operations and bytes of measured rows would take at best, beside what they took in that run: columns and figures."""

from __future__ import annotations

from typing import Any

from workbench.markdown import markdown, ratio
from workbench.measured_tables import kept

#: file, part and part with the floors of what is measured
PARTS = {
    "values": ("uncertainty_engine", "values", "values_floor"),
    "gradients": ("uncertainty_engine", "gradients", "gradients_floor"),
    "bases": ("engine_bases", "bases", "bases_floor"),
    "basis-gradients": ("engine_bases", "gradients", "gradients_floor"),
    "md": ("md_speed", "rows", "floor"),
    "updates": ("update_floor", "updates", "updates"),
}
CASE = ("system", "n_species", "n_max", "l_max", "n_atoms")
HEADS = ["again, µs per atom", "operations at best, µs", "bytes at best, µs"]


def rows_and_floors(name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Rows of a part, each with its floor.

    Raises
    ------
    ValueError
        If a row has no floor, or a floor is not of the row's case.
    """
    file, part, floors = PARTS[name]
    stored = kept("benchmarks", file)
    pairs = list(zip(stored[part], stored[floors], strict=True))
    for row, floor in pairs:
        if any(row[key] != floor[key] for key in CASE if key in row and key in floor):
            raise ValueError(f"a floor of {file} is not of its row's case: measure {floors} again")
    return pairs


def cells(floor: dict[str, Any]) -> list[str]:
    """The columns under :data:`HEADS`."""
    return [f"{floor['us']:.1f}", f"{floor['operations_us']:.1f}", f"{floor['bytes_us']:.2f}"]


def bases() -> str:
    """Descriptors by species and basis, µs per atom: what they take, and what their operations take at best."""
    found = rows_and_floors("bases")
    columns = sorted({(row["l_max"], row["n_max"]) for row, _ in found})
    lines = []
    for n_species in sorted({row["n_species"] for row, _ in found}):
        own = {
            (row["l_max"], row["n_max"]): f"{floor['us']:.1f} ({floor['operations_us']:.1f}, {floor['bytes_us']:.1f})"
            for row, floor in found
            if row["n_species"] == n_species
        }
        lines.append([str(n_species), *(own[column] for column in columns)])
    return markdown(["species", *(f"n {n_max}, l {l_max}" for l_max, n_max in columns)], lines)


def updates() -> str:
    """What a gradient step and an update of the built-in force field take, beside their floors."""
    heads = ["species", "atoms of a structure", "neighbours", "a step, µs per atom of its batch"]
    heads += ["operations at best, µs", "bytes at best, µs", "an update, ms", "its steps, ms", "the update at best, ms"]
    heads += ["structures prepared, ms", "load of the machine"]
    rows = [
        [
            str(row["n_species"]), str(row["n_atoms"]), f"{row['neighbours']:.0f}", ratio(row["us_spread"]),
            f"{row['operations_us']:.1f}", f"{row['bytes_us']:.2f}", ratio(row["update_ms"], 0), f"{row['steps_ms']:.0f}",
            f"{row['update_at_best_ms']:.0f}", f"{row['prepared_ms']:.0f}", f"{row['load']:.1f}",
        ]
        for row, _ in rows_and_floors("updates")
    ]  # fmt: skip
    return markdown(heads, rows)


def update_parts() -> str:
    """Where the time of a gradient step goes, µs per atom of its batch."""
    found = [row for row, _ in rows_and_floors("updates")]
    heads = ["", *(f"{row['n_species']} species, {row['n_atoms']} atoms" for row in found)]
    names = [name for name in found[0]["parts"] if name != "all of it"]
    rows = [[name, *(f"{row['parts'][name]:.1f}" for row in found)] for name in names]
    whole = [row["parts"]["all of it"] for row in found]
    rest = [all_of_it - sum(row["parts"][name] for name in names) for row, all_of_it in zip(found, whole, strict=True)]
    rows.append(["channels, loss, Adam, torch's calls", *(f"{value:.1f}" for value in rest)])
    return markdown(heads, [*rows, ["all of it", *(f"{value:.1f}" for value in whole)]])


def update_over_floor(which: str) -> str:
    """How many times its floor an update takes: the ``least`` or the ``most``."""
    ratios = [row["update_ms"][0] / row["update_at_best_ms"] for row, _ in rows_and_floors("updates")]
    chosen = {"least": min, "most": max}[which]
    return f"{chosen(ratios):.0f}"


def over_floor(name: str, which: str) -> str:
    """How many times its floor, the larger of operations' and bytes', a row of a part takes: the ``least`` or the ``most``."""
    ratios = [floor["us"] / max(floor["operations_us"], floor["bytes_us"]) for _, floor in rows_and_floors(name)]
    chosen = {"least": min, "most": max}[which]
    return f"{chosen(ratios):.1f}"


def bytes_share(name: str) -> str:
    """The largest share of a row's time that its bytes would take, %."""
    share = max(floor["bytes_us"] / floor["us"] for _, floor in rows_and_floors(name))
    return f"{100 * share:.0f}" if share >= 0.01 else f"{100 * share:.1f}"


def distances(n_max: str, name: str) -> str:
    """Microseconds per atom of a gradient with four species, or of its distances (`distances_alone` of engine_bases.py)."""
    (row,) = (row for row in kept("benchmarks", "engine_bases")["distances_alone"] if row["n_max"] == int(n_max))
    parts = {"both": ("distances_us", "slopes_us"), "cached": ("cached_distances_us", "cached_slopes_us")}
    return f"{sum(row[part] for part in parts.get(name, (name,))):.0f}"
