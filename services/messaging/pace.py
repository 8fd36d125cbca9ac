"""How long a number rests between two messages: its pace with jitter. Pure: no database, no clock."""

import random
from dataclasses import dataclass
from datetime import timedelta

# A person does not type at an even pace either: each gap is the pace times a factor from this range.
JITTER = (0.7, 1.6)


@dataclass(frozen=True)
class Pace:
    """`seconds` between two messages, before jitter; 0 turns pacing off."""

    seconds: float

    def gap(self) -> timedelta:
        """A gap drawn at random."""
        return self.gap_at(random.random())

    def gap_at(self, draw: float) -> timedelta:
        """The gap at `draw` of the range, from 0 for the shortest to 1 for the longest."""
        shortest, longest = JITTER
        return timedelta(seconds=self.seconds * (shortest + draw * (longest - shortest)))

    @property
    def longest_gap(self) -> timedelta:
        """No gap is longer."""
        return self.gap_at(1)
