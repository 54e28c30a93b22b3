"""Errors, files, tensor records, distributed work and provenance; knows nothing of the other rooms."""
