"""Modules of torch that were pickled whole, read as data: none of their classes is imported, nothing of the file is run."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from idealflow.errors import ArtifactError, InputError

__all__ = ["Stored", "read_module"]

#: all that a file may call: what puts tensors together
_CALLED = {
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_parameter"),
    ("collections", "OrderedDict"),
    *(("torch", f"{kind}Storage") for kind in ("Float", "Double", "Long", "Int", "Bool", "Half", "BFloat16", "Byte")),
}


class Stored:
    """An object of a file: the name of its class, the arguments it was made with, and its attributes.

    Examples
    --------
    >>> Stored("Linear", (), {"weight_numel": 4})["weight_numel"]
    4
    """

    def __init__(self, kind: str, arguments: tuple[Any, ...] = (), state: Any = None) -> None:
        self.kind, self.arguments, self._state = kind, arguments, {} if state is None else state

    def __getitem__(self, name: str) -> Any:
        """An attribute, a parameter, a buffer or a part; raises KeyError with its name."""
        for place in (self._state, *(self._state.get(part) or {} for part in ("_modules", "_parameters", "_buffers"))):
            if name in place:
                return place[name]
        raise KeyError(f"{self.kind} has no {name!r}")

    def get(self, name: str, default: Any = None) -> Any:
        """As ``[name]``, or a default."""
        try:
            return self[name]
        except KeyError:
            return default

    def parts(self) -> list[Any]:
        """Modules in it, in their order."""
        found: list[Any] = list(self["_modules"].values())
        return found

    def tensors(self, which: str, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Names and values of all ``_parameters`` or ``_buffers`` in it and in its parts."""
        state = self._state if isinstance(self._state, dict) else {}
        for name, value in (state.get(which) or {}).items():
            if isinstance(value, Tensor):
                yield prefix + name, value.detach()
        for name, part in (state.get("_modules") or {}).items():
            if isinstance(part, Stored):
                yield from part.tensors(which, f"{prefix}{name}.")


def _stub(kind: str) -> type:
    """A class that keeps what a file gives to the class of that name."""

    class Kept(Stored):
        def __new__(cls, *arguments: Any, **_: Any) -> Kept:
            made = object.__new__(cls)
            Stored.__init__(made, kind, arguments, {})
            return made

        def __init__(self, *_: Any, **__: Any) -> None:
            """What it was made with is kept when it is made."""

        def __setstate__(self, state: Any) -> None:
            self._state = state

    return type(kind, (Kept,), {"kind": kind})


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return super().find_class(module, name) if (module, name) in _CALLED else _stub(name)


def read_module(path: str | Path) -> Stored:
    """Read a file that ``torch.save(module)`` wrote.

    Raises
    ------
    ArtifactError
        If it is missing, cut short, damaged, or something else.
    InputError
        For compiled code.

    Examples
    --------
    >>> torch.save(torch.nn.Linear(2, 1), "linear.model")
    >>> stored = read_module("linear.model")
    >>> stored.kind, [(name, list(value.shape)) for name, value in stored.tensors("_parameters")]
    ('Linear', [('weight', [1, 2]), ('bias', [1])])
    """
    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"{path} does not exist; expected a model that torch saved whole")
    try:
        if not zipfile.is_zipfile(path):
            raise ArtifactError(f"{path} is no model that torch saved whole, or is cut short; give a whole one")
        with zipfile.ZipFile(path) as archive:
            if any(name.endswith("/constants.pkl") for name in archive.namelist()):
                raise InputError(f"{path} holds compiled code (TorchScript); give the model as it was before")
            if (damaged := archive.testzip()) is not None:
                raise ArtifactError(f"{path} is damaged in {damaged}; give a whole one")
        reader = SimpleNamespace(Unpickler=_Reader, load=None, __name__="idealflow")
        found = torch.load(path, map_location="cpu", pickle_module=reader, weights_only=False)
    except (
        RuntimeError,
        OSError,
        pickle.UnpicklingError,
        EOFError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
    ) as e:
        if isinstance(e, InputError):
            raise
        cause = " ".join(str(e).split())[:200]
        raise ArtifactError(
            f"{path} is no model that torch saved whole, or is damaged ({cause}); give a whole one"
        ) from e
    except zipfile.BadZipFile as e:
        raise ArtifactError(f"{path} is damaged ({e}); give a whole one") from e
    if not isinstance(found, Stored):
        raise ArtifactError(f"{path} holds no model that torch saved whole, but a {type(found).__name__}")
    return found
