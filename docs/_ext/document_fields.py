"""Fields of stored documents in their reference: name, type and description, from the pydantic model."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from sphinx.util.typing import stringify_annotation


def add_fields(_app: Any, what: str, _name: str, obj: Any, _options: Any, lines: list[str]) -> None:
    """Append an Attributes section to the docstring of a pydantic model."""
    if what != "class" or not issubclass(obj, BaseModel):
        return
    lines += ["", "Attributes", "----------"]
    for name, field in obj.model_fields.items():
        kind = stringify_annotation(field.annotation, "smart").replace("~", "")
        lines.append(f"{name} : {kind}")
        if field.description:
            lines.append(f"    {field.description}")


def setup(app: Any) -> dict[str, bool]:
    """Listen before napoleon, which turns the section into fields."""
    app.connect("autodoc-process-docstring", add_fields, priority=100)
    return {"parallel_read_safe": True}
