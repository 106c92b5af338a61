"""Errors that name the rule, the value and the remedy.

Every error the package raises on purpose derives from :class:`IdealflowError`, so that a caller can tell a
broken rule (bad input, a damaged file, a failed label) from a bug.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "ArtifactError",
    "CampaignError",
    "IdealflowError",
    "InputError",
    "LabelError",
    "MissingExtraError",
    "OtherSegmentError",
    "did_you_mean",
]


class IdealflowError(Exception):
    """Base of all errors raised on purpose; its message names rule, value and remedy."""


class InputError(IdealflowError, ValueError):
    """Input that breaks a rule (NaN positions, unknown species, a misspelt key); the program exits with 2."""


class OtherSegmentError(InputError):
    """A checkpoint or trajectory in progress belongs to a segment with other settings; nothing was overwritten."""


class ArtifactError(IdealflowError):
    """A stored file is missing, cut short, foreign, or does not match its hash."""


class LabelError(IdealflowError):
    """A label could not be computed, or its document cannot be converted; the message is the recorded cause."""


class CampaignError(IdealflowError):
    """A campaign cannot go on (a second blow-up at one frame, too many failed labels) or is in use elsewhere."""


class MissingExtraError(IdealflowError, ImportError):
    """An optional package is not installed; the message names the pip command."""


def did_you_mean(key: object, known: Iterable[str]) -> str:
    """The known key nearest to a misspelt one, as the end of a message; nothing where none is near."""
    close = difflib.get_close_matches(str(key), list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
