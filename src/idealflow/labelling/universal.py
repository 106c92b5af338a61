"""Universal force fields as label sources by name: what is behind each name, and what must be installed for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from idealflow.errors import MissingExtraError

__all__ = ["UNIVERSAL", "Universal"]


@dataclass(frozen=True)
class Universal:
    """A universal force field whose weights come with a package.

    Attributes
    ----------
    path
        Import path of the function that makes its calculator.
    title
        Name in output; the model is added.
    package, extra
        The package, and the extra of this package that installs it.
    model
        Default of the argument ``model``.

    Examples
    --------
    >>> UNIVERSAL["sevennet"].method({"model": "7net-l3i5"})
    'SevenNet 7net-l3i5 (stands in for DFT)'
    """

    path: str
    title: str
    package: str
    extra: str
    model: str

    def method(self, kwargs: Mapping[str, Any]) -> str:
        """Name of the method, which says that it stands in for DFT."""
        return f"{self.title} {kwargs.get('model', self.model)} (stands in for DFT)"

    def check_available(self) -> None:
        """Refuse it where its package is missing.

        Raises
        ------
        MissingExtraError
            With the command that installs it.
        """
        found = find_spec(self.package)
        if found is None or found.origin is None:  # a folder of that name is no package
            raise MissingExtraError(f"labels of {self.title} need: pip install 'idealflow[{self.extra}]'")


#: by the name that a labeller's ``calculator`` may have
UNIVERSAL = {
    "sevennet": Universal(
        "idealflow.forcefields.sevennet.sevennet_calculator", "SevenNet", "sevenn", "sevennet", "7net-0"
    ),
    "chgnet": Universal("idealflow.labelling.chgnet.chgnet_calculator", "CHGNet", "chgnet", "chgnet", "0.3.0"),
}
