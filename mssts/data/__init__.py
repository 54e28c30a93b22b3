"""Datasets: the registry, the generated SynthVIS, annotation readers, clips, stills and whole videos."""
