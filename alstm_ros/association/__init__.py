"""Deciding which detection is which object: motion, cost, matching, tracks and their life."""
