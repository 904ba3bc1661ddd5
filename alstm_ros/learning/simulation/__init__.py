"""Scenes that nobody filmed, and detectors that err as real ones do."""
