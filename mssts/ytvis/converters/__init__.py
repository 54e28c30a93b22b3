"""Annotations of other formats to YouTube-VIS and back; see `mssts.ytvis.converters.formats`."""
