"""Recordings in, tracks and numbers out. Reads no ROS installation; every number comes from the code that runs live."""
