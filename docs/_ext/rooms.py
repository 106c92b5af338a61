"""The rooms of a package as a picture, drawn from its imports when the documentation is built.

``{rooms}`` takes the name of an import-linter contract of type ``layers`` in pyproject.toml: its layers are the floors, so the
picture shows what the contract checks, and an arrow that no import makes is not drawn.
"""

from __future__ import annotations

import tomllib
from html import escape
from pathlib import Path
from typing import Any

import grimp
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"

WIDTH, FLOOR, HIGH, PAD = 720, 92, 38, 8


class Rooms(SphinxDirective):
    """Draw the floors of one contract."""

    has_content = False
    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """The picture, inline, in the page's own colours."""
        floors, root = floors_of(self.arguments[0])
        return [nodes.raw("", drawn(floors, arrows_between(floors, root)), format="html")]


def floors_of(contract: str) -> tuple[list[list[str]], str]:
    """Rooms by floor, the highest first, with whole names; and the package they are in."""
    settings = tomllib.loads(PYPROJECT.read_text())["tool"]["importlinter"]
    found = next(entry for entry in settings["contracts"] if entry["name"] == contract)
    (container,) = found.get("containers", [""])
    floors = [[room.strip() for room in floor.split("|")] for floor in found["layers"]]
    if container:
        floors = [[f"{container}.{room}" for room in floor] for floor in floors]
    return floors, settings["root_packages"][0]


def arrows_between(floors: list[list[str]], root: str) -> dict[tuple[str, str], int]:
    """How many imports lead from each room to each other one."""
    graph = grimp.build_graph(root, cache_dir=None)
    inside = {
        module: room
        for floor in floors
        for room in floor
        for module in graph.modules
        if module == room or module.startswith(f"{room}.")
    }
    counts: dict[tuple[str, str], int] = {}
    for module, room in inside.items():
        for imported in graph.find_modules_directly_imported_by(module):
            other = inside.get(imported, room)
            if other != room:
                counts[room, other] = counts.get((room, other), 0) + 1
    return counts


def drawn(floors: list[list[str]], arrows: dict[tuple[str, str], int]) -> str:
    """An SVG: a box for each room, a line for each pair with imports, thicker with more of them."""
    boxes: dict[str, tuple[float, float, float]] = {}
    for row, floor in enumerate(floors):
        wide = min(170.0, (WIDTH - PAD) / len(floor) - PAD)
        # single rooms step aside from each other, so that lines past a floor can be told from lines to it
        shift = (row % 3 - 1) * 130 if len(floor) == 1 else 0
        for place, room in enumerate(floor):
            centre = WIDTH * (place + 0.5) / len(floor) + shift
            boxes[room] = (centre, PAD + row * FLOOR, wide)
    height = PAD * 2 + (len(floors) - 1) * FLOOR + HIGH
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="Rooms and their imports" '
        'style="max-width:100%;height:auto" font-family="inherit" font-size="15">'
    ]
    for (room, other), count in sorted(arrows.items()):
        (x1, y1, _), (x2, y2, _) = boxes[room], boxes[other]
        side = HIGH if y2 > y1 else 0
        title = f"{short(room)} → {short(other)}: {count} import{'s' * (count > 1)}"
        parts.append(
            f'<path d="M{x1:.0f} {y1 + side} C{x1:.0f} {y1 + side + 30} {x2:.0f} {y2 + HIGH - side - 30} '
            f'{x2:.0f} {y2 + HIGH - side}" fill="none" stroke="currentColor" stroke-opacity="0.45" '
            f'stroke-width="{min(5.0, 0.8 + 0.3 * count):.1f}"><title>{escape(title)}</title></path>'
        )
    for room, (x, y, wide) in boxes.items():
        parts.append(
            f'<rect x="{x - wide / 2:.0f}" y="{y}" width="{wide:.0f}" height="{HIGH}" rx="6" '
            'fill="var(--color-background-secondary)" stroke="currentColor"/>'
            f'<text x="{x:.0f}" y="{y + 25}" text-anchor="middle" fill="currentColor">{escape(short(room))}</text>'
        )
    return "".join([*parts, "</svg>"])


def short(room: str) -> str:
    """The room's own name."""
    return room.rpartition(".")[2]


def setup(app: Any) -> dict[str, bool]:
    """Add the directive."""
    app.add_directive("rooms", Rooms)
    return {"parallel_read_safe": True}
