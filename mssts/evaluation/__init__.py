"""Evaluation of predictions: matching, COCO metrics, errors, challenges and statistics of differences; no torch."""
