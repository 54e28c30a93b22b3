"""Tensor operations without learned parameters: boxes, attention, masks."""
