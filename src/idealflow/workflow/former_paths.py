"""Modules of version 0.1.0 that stored documents name; they live one release, where a queue may still hold them."""

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

#: former path → present one, of the modules whose classes were written into documents and configs
_MOVED = {
    **{f"{_ROOM}.{name}": f"{_ROOM}.stages.{name}" for name in _STAGES},
    f"{_ROOM}.ideal": f"{_ROOM}.campaign.ideal",
    f"{_ROOM}.vasp": _VASP,
    **{f"{_ROOM}.vasp.{name}": f"{_VASP}.{name}" for name in ("inputs", "labeller", "limits")},
}


class _Finder(MetaPathFinder, Loader):
    """Finds a former module as the module that took its place."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002  # the protocol's signature
        target: ModuleType | None = None,  # noqa: ARG002  # the same
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in _MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        # import_module answers with what stands in sys.modules after this
        sys.modules[module.__name__] = import_module(_MOVED[module.__name__])


def install() -> None:
    """Let ``import idealflow.workflow.crop`` and its like find the modules in their rooms; once per process."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
