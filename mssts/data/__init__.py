"""Datasets: the registry, the generated SynthVIS, preparation, clips, stills and whole videos."""
