"""Check the registered parts that configurations name. Imports no torch unless a configuration names a part."""

from __future__ import annotations

from pathlib import Path

from mssts.config import Config


def check_parts(config: Config, source: Path) -> None:
    """Validate the sections of all registered parts of a configuration.

    Args:
        config: The configuration.
        source: File that names the parts.

    Raises:
        InputError: A part is not registered, or its section has an unknown key or a bad value.
    """
    branches, blocks, terms = config.model.encoder.branches, config.model.decoder.blocks, config.loss.terms
    if not (branches or blocks or terms):
        return
    from mssts.losses.registry import TERMS  # these import torch, which the Snakefile must not
    from mssts.models.registry import BLOCKS, BRANCHES

    BRANCHES.sections(branches, source)
    BLOCKS.sections(blocks, source)
    TERMS.sections(terms, source)
