"""Errors, files, checkpoints, tensor records, distributed work and provenance; imports nothing else of the package."""
