"""Where the tracker stood before; programs that import it from here go on for one release. It is in `tracker`."""

from __future__ import annotations

from alstm_ros.association.tracker import IdCounter, TrackManager

__all__ = ["IdCounter", "TrackManager"]
