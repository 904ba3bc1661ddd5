"""What `alstm track` is tried on: two blobs as pictures, three people as detections."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alstm_ros import cli
from alstm_ros.types import Image


def two_walkers(number: int) -> Image:
    """Two bright blobs that pass each other at different heights, as a picture."""
    picture = np.zeros((120, 160, 3), np.uint8)
    picture[20:50, 5 + 4 * number : 25 + 4 * number, 0] = 220
    picture[70:100, 130 - 4 * number : 150 - 4 * number, 2] = 200
    return picture


def write_walk(folder: Path) -> Path:
    """Detections of three people who walk side by side for 300 frames, with noise and gaps; returns the folder."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    rows = []
    for frame in range(1, 301):
        for person in range(3):
            if rng.random() < 0.9:
                left, top = 2 * frame + rng.normal(0, 1), 100 + 150 * person + rng.normal(0, 1)
                rows.append(f"{frame},-1,{left:.2f},{top:.2f},50,120,{rng.uniform(0.6, 0.99):.3f},-1,-1,-1")
    (folder / "det.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (folder / "seqinfo.ini").write_text(
        "[Sequence]\nname=walk\nframeRate=30\nseqLength=300\nimWidth=1000\nimHeight=600\n", encoding="utf-8"
    )
    return folder


def track(*arguments: object) -> int:
    return cli.main(["track", *map(str, arguments)])
