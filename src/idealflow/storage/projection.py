"""Projection of documents by MongoDB's rules: include or exclude dotted paths, through arrays too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from idealflow.errors import InputError

__all__ = ["Properties", "project"]

#: dotted paths to keep; or paths with 1 to keep them, 0 to leave them out; None: everything
Properties = Mapping[str, Any] | Sequence[str] | None
_Tree = dict[str, "_Tree"]


def _tree(paths: Iterable[str]) -> _Tree:
    """Nest dotted paths; a path below another one is part of it. A leaf is an empty dictionary."""
    tree: _Tree = {}
    for path in sorted(paths, key=lambda p: p.count(".")):
        node, parts = tree, path.split(".")
        for i, part in enumerate(parts):
            if part in node and not node[part]:
                break
            node = node.setdefault(part, {})
            if i == len(parts) - 1:
                node.clear()
    return tree


def _include(value: dict[str, Any], tree: _Tree) -> dict[str, Any]:
    kept = {}
    for key, item in value.items():
        if key not in tree:
            continue
        if not tree[key]:
            kept[key] = item
        elif isinstance(item, dict):
            kept[key] = _include(item, tree[key])
        elif isinstance(item, list):
            kept[key] = _include_items(item, tree[key])
    return kept


def _include_items(items: list[Any], tree: _Tree) -> list[Any]:
    return [
        _include(item, tree) if isinstance(item, dict) else _include_items(item, tree)
        for item in items
        if isinstance(item, dict | list)
    ]


def _exclude(value: object, tree: _Tree) -> Any:
    if isinstance(value, list):
        return [_exclude(item, tree) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: _exclude(item, tree[key]) if key in tree else item
        for key, item in value.items()
        if key not in tree or tree[key]
    }


def project(document: dict[str, Any], properties: Properties) -> dict[str, Any]:
    """Return the part of `document` that `properties` names.

    Parameters
    ----------
    document
        A decoded document; parts of it are shared with the result.
    properties
        A list of dotted paths to keep, or a dictionary of paths to 1 (keep) or 0 (drop). Empty: everything.

    Raises
    ------
    InputError
        When keeping and dropping are mixed, or an operator such as ``$slice`` is given.

    Examples
    --------
    >>> project({"uuid": "a", "output": {"round": 1, "log": [1, 2]}}, ["output.round"])
    {'output': {'round': 1}}
    """
    if not properties:
        return document
    if not isinstance(properties, Mapping):
        properties = dict.fromkeys(properties, 1)
    wanted = {path: choice for path, choice in properties.items() if path != "_id"}
    if any(not isinstance(choice, bool | int) for choice in wanted.values()):
        raise InputError(f"projection takes 1 or 0 for each field, got {dict(properties)}; take the parts in Python")
    keep = {bool(choice) for choice in wanted.values()}
    if len(keep) > 1:
        raise InputError(f"projection must either keep or drop fields, got {dict(properties)}")
    with_id = bool(properties.get("_id", 1))
    if keep == {True} or (not wanted and with_id):
        result = _include(document, _tree([*wanted, "_id"] if with_id else wanted))
    else:
        result = _exclude(document, _tree(wanted))
    if not with_id:
        result.pop("_id", None)
    return dict(result)
