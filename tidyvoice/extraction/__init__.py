"""Extraction of the embeddings of a data folder."""
