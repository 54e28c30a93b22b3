"""Tensor operations without parameters to learn: boxes, attention, masks."""
