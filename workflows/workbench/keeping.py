"""What a script measured, kept as JSON: the pages' tables are made from it (:mod:`workbench.stored_results`)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

DIGITS = 4  # significant ones


def add_out(parser: argparse.ArgumentParser) -> None:
    """The option ``--out``."""
    parser.add_argument(
        "--out",
        type=lambda name: Path(name).absolute(),  # scripts work in folders of their own
        metavar="FILE.json",
        help="keep the figures there, in place of those of the same parts; pages show those of the folder `results`",
    )


def keep(path: Path | None, **parts: Any) -> None:
    """Write parts into a JSON file, floats with four digits; its other parts stay. Without a path nothing is written."""
    if path is None:
        return
    kept = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(".new")
    new = {name.replace(" ", "_"): shortened(part) for name, part in parts.items()}
    beside.write_text(text_of(kept | new))
    beside.replace(path)


def shortened(data: Any) -> Any:
    """The same with numbers as JSON has them: integers, and floats of four significant digits."""
    if isinstance(data, dict):
        return {str(key): shortened(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [shortened(value) for value in data]
    if hasattr(data, "tolist"):  # of numpy
        return shortened(data.tolist())
    return float(f"{data:.{DIGITS}g}") if isinstance(data, float) else data


def text_of(parts: dict[str, Any]) -> str:
    """JSON with a line for each row of a part."""
    texts = []
    for name, part in parts.items():
        by_row = isinstance(part, list)
        rows = ",\n".join(f"  {json.dumps(row, ensure_ascii=False)}" for row in part) if by_row else ""
        texts.append(f" {json.dumps(name)}: " + (f"[\n{rows}\n ]" if rows else json.dumps(part, ensure_ascii=False)))
    return "{\n" + ",\n".join(texts) + "\n}\n"
