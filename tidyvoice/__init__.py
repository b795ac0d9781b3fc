"""Open, reproducible, fast speaker verification across languages."""

__version__ = "0.1.0"
