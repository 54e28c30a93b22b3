"""Loss terms beside the built-in ones: one entry each, see docs/adding-a-part.md.

A term is built as `build(section, loss_section)`. Its section is a subclass of `mssts.config.LossTermSection`, which
holds its weight. It is called as `term(matched) -> (L,)`: the sum of the loss over the matched pairs of the batch, for
each decoder layer. The criterion divides it by the number of instances and multiplies it by the weight. It is logged
as `loss_<name>`.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from mssts.losses.matched import Matched
from mssts.losses.terms import BUILT_IN
from mssts.models.parts import Registry

LossTerm = Callable[[Matched], Tensor]

TERMS: Registry[LossTerm] = Registry("loss.terms", (*BUILT_IN, "adversary", "discriminator"), {})
