"""Losses: Hungarian matching, the criterion's five terms, and the foreground-background adversary."""

from mssts.losses.adversary import ForegroundBackgroundAdversary
from mssts.losses.criterion import Criterion
from mssts.losses.matcher import Matcher, Matches

__all__ = ["Criterion", "ForegroundBackgroundAdversary", "Matcher", "Matches"]
