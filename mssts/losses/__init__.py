"""Losses: Hungarian matching, the criterion and its terms, and the foreground-background adversary."""

from mssts.losses.adversary import ForegroundBackgroundAdversary
from mssts.losses.criterion import Criterion
from mssts.losses.matched import Matched
from mssts.losses.matcher import Matcher, Matches

__all__ = ["Criterion", "ForegroundBackgroundAdversary", "Matched", "Matcher", "Matches"]
