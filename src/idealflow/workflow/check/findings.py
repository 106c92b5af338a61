"""What a check has found: lines to read, warnings, and faults."""

from __future__ import annotations

from dataclasses import dataclass, field

from idealflow.errors import Faults

__all__ = ["Findings", "spread"]


@dataclass
class Findings:
    """What a check has found.

    Attributes
    ----------
    lines
        Topic and text of what is as it should be, in the order of the check.
    warnings
        What may be meant, but is worth a look.
    faults
        What the campaign could not run with.

    Examples
    --------
    >>> findings = Findings()
    >>> findings.say("structure", "108 atoms of Cu")
    >>> print(findings.text(), end="")
    structure      108 atoms of Cu
    """

    lines: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)

    def say(self, topic: str, text: str) -> None:
        """Add a line."""
        self.lines.append((topic, text))

    def text(self) -> str:
        """Return all lines and warnings as text, one below the other."""
        shown = [f"{topic:<14} {text}\n" for topic, text in self.lines]
        return "".join([*shown, *(f"warning        {text}\n" for text in self.warnings)])


def spread(values: list[int] | list[float], unit: str = "") -> str:
    """Write a number, or the lowest and highest of several, to three digits where they are no whole numbers.

    Examples
    --------
    >>> spread([128, 164]), spread([32, 32]), spread([0.12345, 3.0], " s")
    ('128 to 164', '32', '0.123 to 3 s')
    """
    low, high = (_number(value) for value in (min(values), max(values)))
    return f"{low}{unit}" if low == high else f"{low} to {high}{unit}"


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3g}"
