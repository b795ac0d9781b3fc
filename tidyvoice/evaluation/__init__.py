"""Metrics by category and language, their intervals and tables. Nothing here imports torch."""
