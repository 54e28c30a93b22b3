"""What modules expose to attention figures. A module that declares nothing has nothing to show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from mssts.ops.attention import ScaledDotProduct


@dataclass(frozen=True)
class ObservableAttention:
    """An attention over the frames of a clip that figures may show.

    Attributes:
        attend: The module to observe. Its queries are (B*S', heads, T, d): the T tokens at each location of the levels
            `levels`, level by level and row by row.
        levels: Feature levels of the queries, finest first; all by default.
        next_coarser: False: the keys are the T tokens at the query's location. True: they are 2T, the same ones
            followed by the tokens of the next coarser level at that location.
    """

    attend: ScaledDotProduct
    levels: slice = field(default_factory=lambda: slice(None))
    next_coarser: bool = False


@runtime_checkable
class Observable(Protocol):
    """An encoder branch that exposes attention to figures."""

    def observable_attention(self) -> Sequence[ObservableAttention]:
        """The attention modules that figures may show, in order of execution."""
