"""A power law t = a·N^b through label times, with the standard error of its exponent."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class PowerLaw:
    """t = prefactor·N^exponent, with standard errors from the scatter about the fit (log-log least squares)."""

    prefactor: float
    exponent: float
    exponent_error: float
    covariance: np.ndarray
    n_points: int

    def __call__(self, n_atoms: float) -> float:
        """Time at a size, s."""
        return float(self.prefactor * n_atoms**self.exponent)

    def relative_error(self, n_atoms: float) -> float:
        """Standard error of the logarithm of the time at a size."""
        row = np.array([np.log(n_atoms), 1.0])
        return float(np.sqrt(row @ self.covariance @ row))


def fitted(sizes: Iterable[float], times: Iterable[float]) -> PowerLaw:
    """The law through at least three points."""
    x, y = np.log(list(sizes)), np.log(list(times))
    if len(x) < 3:
        raise SystemExit(f"a fit with an error needs three sizes or more, got {len(x)}")
    (slope, intercept), covariance = np.polyfit(x, y, 1, cov="unscaled")
    residuals = y - (slope * x + intercept)
    covariance = covariance * float(residuals @ residuals) / (len(x) - 2)
    return PowerLaw(float(np.exp(intercept)), float(slope), float(np.sqrt(covariance[0, 0])), covariance, len(x))


def read(path: Path) -> list[dict[str, Any]]:
    """Lines of a results file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


SMALLEST = 90  # atoms, of the frames that the law is fitted to


def frames_law(frames: list[dict[str, Any]], smallest: int = SMALLEST) -> PowerLaw:
    """The law of whole frames of at least ``smallest`` atoms: in smaller ones what grows slowly still weighs."""
    entries = [entry for entry in frames if entry["n_atoms"] >= smallest]
    return fitted([entry["n_atoms"] for entry in entries], [entry["core_seconds"] for entry in entries])
