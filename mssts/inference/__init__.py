"""Prediction of videos, attention maps, and import of public weights."""
