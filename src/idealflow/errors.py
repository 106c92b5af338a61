"""Errors that name the rule, the value and the remedy.

Every error the package raises on purpose derives from :class:`IdealflowError`, so that a caller can tell a
broken rule (bad input, a damaged file, a failed label) from a bug.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

__all__ = [
    "ArtifactError",
    "CampaignError",
    "Faults",
    "IdealflowError",
    "InputError",
    "LabelElsewhereError",
    "LabelError",
    "LabelsAwaitedError",
    "MissingExtraError",
    "OtherSegmentError",
    "did_you_mean",
]


class IdealflowError(Exception):
    """Base of all errors raised on purpose; its message names rule, value and remedy.

    Examples
    --------
    One handler for all of them, which lets bugs through:

    >>> from idealflow.core import SOAP
    >>> try:
    ...     SOAP(["Cu"], r_cut=-5.0, n_max=4, l_max=4, sigma=0.5)
    ... except IdealflowError as error:
    ...     print(type(error).__name__)
    InputError
    """


class InputError(IdealflowError, ValueError):
    """Input that breaks a rule (NaN positions, unknown species, a misspelt key); the program then exits with status 2.

    It is a ``ValueError`` too.

    Examples
    --------
    >>> from idealflow.forcefields import get_force_field
    >>> get_force_field("local", species=["Cu"], cutoff=-1.0)
    Traceback (most recent call last):
    idealflow.errors.InputError: cutoff must be a positive number, got -1.0
    """


class OtherSegmentError(InputError):
    """The checkpoint or trajectory found at a path belongs to an MD segment with other settings; it was not overwritten.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from ase.calculators.emt import EMT
    >>> from idealflow.core.dynamics import MDState, Schedule, Stage, md_segment
    >>> start = MDState.initial(bulk("Cu", cubic=True), temperature=300.0, seed=0)
    >>> def run(temperature):
    ...     schedule = Schedule([Stage("hold", temperature, steps=4)])
    ...     return md_segment(EMT(), start, schedule=schedule, trajectory="md.idf", check_interval=2)
    >>> run(300.0).reason
    'schedule_end'
    >>> run(600.0)
    Traceback (most recent call last):
    idealflow.errors.OtherSegmentError: ...
    """


class ArtifactError(IdealflowError):
    """A stored file is missing, cut short, of another kind than expected, or does not match its hash.

    Examples
    --------
    >>> from idealflow.core.archive import read_archive
    >>> read_archive("lost.npz", kind="md", version=1)
    Traceback (most recent call last):
    idealflow.errors.ArtifactError: lost.npz does not exist; expected a file of kind 'md'
    """


class LabelError(IdealflowError):
    """A label could not be computed, or the engine's document cannot be converted; campaigns record the message as the cause.

    Examples
    --------
    EMT has parameters for a few metals only:

    >>> from ase import Atoms
    >>> from idealflow import AseLabeller
    >>> AseLabeller("ase.calculators.emt.EMT").compute(Atoms("Fe"))
    Traceback (most recent call last):
    idealflow.errors.LabelError: EMT: NotImplementedError: No EMT-potential for Fe
    """


class CampaignError(IdealflowError):
    """A campaign cannot go on (MD blew up twice at one frame, too many labels failed), or another process uses it.

    Examples
    --------
    A campaign needs two labelled structures to begin with:

    >>> from idealflow.workflow.stages.first_data import FirstData
    >>> FirstData(what=[], failed={"li/bootstrap/000000": "SCF did not converge"}).check_enough()
    Traceback (most recent call last):
    idealflow.errors.CampaignError: the bootstrap has 0 labelled structures, at least 2 are needed; 1 label failed: ...
    """


class LabelElsewhereError(LabelError):
    """There is no label yet, since it is computed elsewhere and brought back; the label counts as awaited, not as failed.

    Examples
    --------
    >>> from ase.build import bulk
    >>> from idealflow.workflow.labellers import labeller_from_settings
    >>> labeller_from_settings({"external": "PBE, 520 eV"}).label(bulk("Cu"), None)
    Traceback (most recent call last):
    idealflow.errors.LabelElsewhereError: PBE, 520 eV is computed elsewhere
    """


class LabelsAwaitedError(CampaignError):
    """A campaign has to wait for labels that are computed elsewhere. It is paused, and goes on when they are brought back.

    Parameters
    ----------
    count
        How many labels are awaited.

    Examples
    --------
    >>> raise LabelsAwaitedError(3)
    Traceback (most recent call last):
    idealflow.errors.LabelsAwaitedError: 3 labels are awaited from outside: `idealflow export DIR FILE --requests` writes their \
cells, `idealflow import DIR FILE` brings the labels back, and `idealflow run` goes on
    """

    def __init__(self, count: int) -> None:
        labels, their = ("1 label is", "its cell") if count == 1 else (f"{count} labels are", "their cells")
        super().__init__(
            f"{labels} awaited from outside: `idealflow export DIR FILE --requests` writes {their}, `idealflow import DIR FILE` "
            "brings the labels back, and `idealflow run` goes on"
        )
        self.count = count

    def __reduce__(self) -> tuple[type[LabelsAwaitedError], tuple[int]]:
        """For other processes."""
        return LabelsAwaitedError, (self.count,)


class MissingExtraError(IdealflowError, ImportError):
    """An optional package is not installed; the message holds the pip command that installs it. An ``ImportError`` too.

    Examples
    --------
    >>> from idealflow.plugins import Plugins
    >>> engines = Plugins("engine", "idealflow.engines", "register_engine", {"fast": ("absent:Fast", "fast")})
    >>> engines.find("fast")
    Traceback (most recent call last):
    idealflow.errors.MissingExtraError: engine 'fast' needs: pip install 'idealflow[fast]' (No module named 'absent')
    """


class Faults:
    """Faults of an input: the first is raised, or all are collected, by one and the same code.

    Parameters
    ----------
    first_only
        Raise the first fault instead of collecting it.

    Attributes
    ----------
    found
        The faults so far.

    Examples
    --------
    >>> faults = Faults()
    >>> for number in (1, -2, -3):
    ...     with faults.collected():
    ...         if number < 0:
    ...             raise InputError(f"must be at least 0, got {number}")
    >>> print(*faults.found, sep="; ")
    must be at least 0, got -2; must be at least 0, got -3
    """

    def __init__(self, *, first_only: bool = False) -> None:
        self.first_only = first_only
        self.found: list[InputError] = []

    @contextmanager
    def collected(self) -> Iterator[None]:
        """End the context at an InputError and collect it; let it through where the first counts alone."""
        try:
            yield
        except InputError as error:
            if self.first_only:
                raise
            if str(error) not in map(str, self.found):  # the same cause may break several rules
                self.found.append(error)


def did_you_mean(key: object, known: Iterable[str]) -> str:
    """End of a message that suggests the known key most similar to a misspelt one; empty where none is similar.

    Examples
    --------
    >>> "unknown key 'max_step'" + did_you_mean("max_step", ["max_steps", "seed"])
    "unknown key 'max_step' (did you mean 'max_steps'?)"
    >>> did_you_mean("colour", ["max_steps", "seed"])
    ''
    """
    close = difflib.get_close_matches(str(key), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
