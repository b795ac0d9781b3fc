"""Decisions on embeddings: verifier, enrolled voices, and how a verifier is fitted. No torch."""
