"""Checks before a training: packages, device, data folders, expected counts, disk space."""
