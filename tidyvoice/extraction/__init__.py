"""The parts of extraction: what is read, how it is batched, computed, kept and merged."""
