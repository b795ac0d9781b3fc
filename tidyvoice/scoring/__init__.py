"""Trials, scores and metrics. Nothing here imports torch."""
