"""The threshold that a config asks for: a number, the distribution's own tail, or where the force error gets too large."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator
from pydantic_core import PydanticCustomError

from idealflow.analysis.calibration import threshold_for_error
from idealflow.provenance import Campaign
from idealflow.workflow.folder.earlier import open_earlier

__all__ = ["Threshold", "calibrated", "check_calibration", "fixed"]

_RULE = "must be auto, a number above 0, or {force_error: NUMBER} in eV/Å"


def _one_of_three(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Validate with one message for all three kinds, in place of one for each."""
    try:
        return check(value)
    except ValidationError:
        raise PydanticCustomError("threshold", _RULE) from None


#: a number, ``auto``, or ``{force_error: ...}`` in eV/Å
Threshold = Annotated[
    Annotated[float, Field(gt=0)]
    | Literal["auto"]
    | Annotated[dict[Literal["force_error"], Annotated[float, Field(gt=0)]], Field(min_length=1)],
    WrapValidator(_one_of_three),
]


def fixed(threshold: Threshold) -> float | None:
    """The threshold where it is a number, else None.

    Examples
    --------
    >>> fixed(3), fixed("auto"), fixed({"force_error": 0.15})
    (3.0, None, None)
    """
    return None if threshold == "auto" or isinstance(threshold, dict) else float(threshold)


def calibrated(threshold: Threshold, campaign: Campaign) -> float | None:
    """The threshold from which on the force error exceeded what is allowed, among a campaign's labels; None if it is no such one.

    Parameters
    ----------
    threshold
        What is asked for.
    campaign
        The campaign with pairs of uncertainty and error, each found before the label was learned.

    Raises
    ------
    InputError
        If it has too few of them.

    Examples
    --------
    >>> from idealflow.provenance import sample_campaign
    >>> calibrated({"force_error": 0.15}, sample_campaign())  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    idealflow.errors.InputError: threshold: {force_error: 0.15} needs at least 20 labelled centres ...
    """
    if not isinstance(threshold, dict):
        return None
    rows = campaign.calibration_rows(recompute=False)
    return threshold_for_error(
        [row["uncertainty"] for row in rows], [row["force_error"] for row in rows], threshold["force_error"]
    )


def check_calibration(threshold: Threshold, earlier: str | None) -> None:
    """Refuse a new campaign whose threshold is to come from labels that there are not.

    Parameters
    ----------
    threshold
        What is asked for.
    earlier
        Folder of the campaign that it begins with; None: it begins with structures or a dataset.

    Raises
    ------
    InputError
        If the earlier campaign has too few pairs of uncertainty and error, or there is none.

    Examples
    --------
    >>> check_calibration("auto", None)
    """
    if isinstance(threshold, dict):
        if earlier is None:
            threshold_for_error([], [], threshold["force_error"])
        else:
            open_earlier(Path(earlier))
            calibrated(threshold, Campaign.open(earlier))
