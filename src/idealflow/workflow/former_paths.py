"""Former paths of modules, as documents and queued jobs of version 0.1.0 name them; they are understood for one more release."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["install"]

_ROOM = "idealflow.workflow"
_STAGES = ("bootstrap", "crop", "evaluation", "label", "relax", "screen", "segment", "update")
_VASP = f"{_ROOM}.labellers.vasp"

#: former path → present path of the modules whose classes documents and configs name
_MOVED = {
    **{f"{_ROOM}.{name}": f"{_ROOM}.stages.{name}" for name in _STAGES},
    f"{_ROOM}.ideal": f"{_ROOM}.campaign.ideal",
    f"{_ROOM}.vasp": _VASP,
    **{f"{_ROOM}.vasp.{name}": f"{_VASP}.{name}" for name in ("inputs", "labeller", "limits")},
}


class _Finder(MetaPathFinder, Loader):
    """Answers the import of a former path with the module that took its place."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002  # the protocol's signature
        target: ModuleType | None = None,  # noqa: ARG002  # the same
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in _MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        # import_module returns what it finds in sys.modules after this
        sys.modules[module.__name__] = import_module(_MOVED[module.__name__])


def install() -> None:
    """Let imports of former paths, such as ``idealflow.workflow.crop``, find the modules where they are now.

    ``idealflow.workflow`` calls it when it is imported; another call changes nothing.

    Examples
    --------
    >>> install()
    >>> import_module("idealflow.workflow.crop").__name__
    'idealflow.workflow.stages.crop'
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
