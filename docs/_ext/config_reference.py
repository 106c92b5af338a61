"""Directive ``config-table``: the keys of a Maker as a table, from its fields, defaults and docstring."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields
from importlib import import_module
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import annotated_types
import yaml
from docutils import nodes
from pydantic.fields import FieldInfo
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import stringify_annotation


def descriptions(kind: type) -> dict[str, str]:
    """Text of every entry of the class docstring's Attributes section."""
    lines = inspect.cleandoc(kind.__doc__ or "").splitlines()
    start = lines.index("Attributes") + 2
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for line in lines[start:]:
        if line and not line.startswith(" "):
            names = [name.strip() for name in line.split(":")[0].split(",")]
            found |= {name: [] for name in names}
        elif line:
            for name in names:
                found[name].append(line.strip())
    return {name: " ".join(text) for name, text in found.items()}


def type_text(hint: Any) -> str:
    """Type and bounds of a field, as a reader of YAML needs them."""
    bounds: list[str] = []
    inner = _without_bounds(hint, bounds)
    text = stringify_annotation(inner, "smart").replace("~", "")
    text = re.sub(r"\b(?:typing|types)\.", "", text)
    text = re.sub(r"Literal\[(.*?)\]", lambda m: m[1].replace(", ", " | "), text)
    text = text.replace("None", "null")
    return f"{text}, {', '.join(bounds)}" if bounds else text


def _without_bounds(hint: Any, bounds: list[str]) -> Any:
    if get_origin(hint) is Annotated:
        base, *extra = get_args(hint)
        if get_origin(base) is dict:  # bounds of what is in it are no bounds of the field
            return dict[tuple(_without_bounds(arg, []) for arg in get_args(base))]
        for entry in extra:
            bounds += [_bound(bound) for bound in (entry.metadata if isinstance(entry, FieldInfo) else [])]
        return _without_bounds(base, bounds)
    args = get_args(hint)
    if args and get_origin(hint) is not None and any(get_origin(arg) is Annotated for arg in args):
        inner = [_without_bounds(arg, bounds) for arg in args]
        union = inner[0]
        for arg in inner[1:]:
            union = union | arg
        return union
    return hint


def _bound(bound: Any) -> str:
    for kind, sign, name in (
        (annotated_types.Ge, "≥", "ge"),
        (annotated_types.Gt, ">", "gt"),
        (annotated_types.Le, "≤", "le"),
        (annotated_types.Lt, "<", "lt"),
        (annotated_types.MinLen, "characters ≥", "min_length"),
        (annotated_types.MaxLen, "characters ≤", "max_length"),
    ):
        if isinstance(bound, kind):
            return f"{sign} {getattr(bound, name)}"
    raise TypeError(f"no text for the bound {bound!r}")


def default_text(entry: Any) -> str:
    """Default of a field as YAML in one line."""
    if entry.default is MISSING and entry.default_factory is MISSING:
        return "required"
    value = entry.default if entry.default is not MISSING else entry.default_factory()
    if hasattr(value, "method"):
        return value.method
    if isinstance(value, tuple):
        value = list(value)
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, sort_keys=False)
    return text.removesuffix("...\n").strip()


class ConfigTable(SphinxDirective):
    """``config-table`` with the argument ``module:Class``: a row for every key."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Build the table."""
        from jobflow import Maker

        module, _, name = self.arguments[0].partition(":")
        kind = getattr(import_module(module), name)
        hints, texts = get_type_hints(kind, include_extras=True), descriptions(kind)
        table, group = nodes.table(), nodes.tgroup(cols=4)
        table += group
        for width in (18, 22, 20, 60):
            group += nodes.colspec(colwidth=width)
        head, body = nodes.thead(), nodes.tbody()
        group += [head, body]
        head += _row([[nodes.Text(text)] for text in ("key", "type", "default", "meaning")])
        for entry in fields(kind):
            hint = hints[entry.name]
            if entry.name == "name" or (isinstance(hint, type) and issubclass(hint, Maker)):
                continue
            if entry.name not in texts:
                raise self.error(f"{kind.__name__}.{entry.name} is not in the docstring's Attributes")
            body += _row(
                [
                    [nodes.literal(text=entry.name)],
                    [nodes.Text(type_text(hint))],
                    [nodes.literal(text=default_text(entry))],
                    _inline(texts[entry.name]),
                ]
            )
        return [table]


def _row(cells: list[list[nodes.Node]]) -> nodes.row:
    row = nodes.row()
    for cell in cells:
        paragraph = nodes.paragraph()
        paragraph += cell
        entry = nodes.entry()
        entry += paragraph
        row += entry
    return row


def _inline(text: str) -> list[nodes.Node]:
    """Literals of a docstring's text; roles become literals of their last part."""
    text = re.sub(r":\w+:`~?([^`]+)`", lambda m: f"``{m[1].rsplit('.', 1)[-1]}``", text)
    parts = re.split(r"``(.+?)``", text)
    return [nodes.literal(text=part) if i % 2 else nodes.Text(part) for i, part in enumerate(parts) if part]


def setup(app: Any) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("config-table", ConfigTable)
    return {"parallel_read_safe": True}
