"""SynthVIS, a generated dataset in the YouTube-VIS format: scenes, rendering, challenge attributes, files."""
