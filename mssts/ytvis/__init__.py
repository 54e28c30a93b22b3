"""The YouTube-VIS format: annotations, submissions and run-length masks, read and checked in one place. No torch."""
