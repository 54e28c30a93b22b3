"""The YouTube-VIS format: annotations, submissions and run-length masks."""
