"""Numbers out of tracks: scores, comparison of runs, the report, tuning."""
