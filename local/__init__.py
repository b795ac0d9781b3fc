"""Preparation of corpora: each module knows one corpus, and nothing else does."""
