"""The network: one file for each box of the architecture figure, and the builder that assembles them."""

from mssts.models.builder import build_model
from mssts.models.model import LayerOutput, MsStsVis, Output, count_parameters

__all__ = ["LayerOutput", "MsStsVis", "Output", "build_model", "count_parameters"]
