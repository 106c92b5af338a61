"""Arguments of a stage in the types of its annotations: job stores and queues give documents as plain data."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_type_hints

from monty.json import MSONable
from pydantic import TypeAdapter

from idealflow.schemas import Document

__all__ = ["decoded", "document_of"]

#: the body of a stage; and a function that turns plain data into an annotated type
Body = Callable[..., Any]
Read = Callable[[object], Any]


def decoded(method: Body, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
    """Bind the arguments of a call, defaults included, and turn each into the type of its annotation.

    Mappings become documents, lists become tuples, and what ``to_dict`` of our plain classes wrote becomes the class again.
    Everything else stays as it is, also what jobflow has decoded already.

    Raises
    ------
    pydantic.ValidationError
        If a mapping is not the document that it stands for.

    Examples
    --------
    >>> from idealflow.schemas import CentreDoc
    >>> def body(centre: CentreDoc, threshold: float = 1.0) -> None: ...
    >>> decoded(body, ({"atom": 3, "species": "Cu", "uncertainty": 2.5},), {}).arguments["centre"].species
    'Cu'
    """
    given = inspect.signature(method).bind(*args, **kwargs)
    given.apply_defaults()
    for name, read in _readers(method).items():
        given.arguments[name] = read(given.arguments[name])
    return given


def document_of(method: Body) -> Read | None:
    """Return the function that reads a stored output of ``method`` as its document; None if it returns no document.

    Examples
    --------
    >>> from idealflow.schemas import CentreDoc
    >>> def body() -> CentreDoc: ...
    >>> document_of(body)({"atom": 3, "species": "Cu", "uncertainty": 2.5}).atom
    3
    """
    annotation: Any = _hints(method).get("return")
    return TypeAdapter(annotation).validate_python if _mentions(annotation, Document) else None


@functools.cache
def _hints(method: Body) -> dict[str, Any]:
    return get_type_hints(method, include_extras=True)


@functools.cache
def _readers(method: Body) -> dict[str, Read]:
    readers = {name: _reader(annotation) for name, annotation in _hints(method).items() if name != "return"}
    return {name: read for name, read in readers.items() if read is not None}


def _reader(annotation: Any) -> Read | None:
    if _mentions(annotation, Document, tuple):
        return TypeAdapter(annotation).validate_python
    if isinstance(annotation, type) and hasattr(annotation, "from_dict") and not issubclass(annotation, MSONable):
        return lambda value: annotation.from_dict(value) if isinstance(value, dict) else value
    return None


def _mentions(annotation: object, *kinds: type) -> bool:
    return any(issubclass(one, kinds) for one in _classes(annotation))


def _classes(annotation: object) -> Iterator[type]:
    """Every class named in an annotation."""
    origin = getattr(annotation, "__origin__", None)
    for one in (annotation, origin):
        if isinstance(one, type) and not get_args(one):
            yield one
    for part in get_args(annotation):
        yield from _classes(part)
