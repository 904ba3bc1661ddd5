"""Simulated scenes, and simulated detectors that err as real ones do."""
