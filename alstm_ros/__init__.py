"""Boxes with ids that last: detection and association for ROS 2 camera topics.

Importing this package is cheap: no ROS, no runtime for models, no torch. Each has one home, see ARCHITECTURE.md.
"""

__version__ = "0.1.0"
