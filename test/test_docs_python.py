"""docs/python.md: both programs run, and give the ids that one expects."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import cv2

ROOT = Path(__file__).resolve().parents[1]


def run_program(number: int, folder: Path) -> list[str]:
    """The lines that one of the page's programs prints."""
    programs = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "python.md").read_text(encoding="utf-8"), re.DOTALL)
    assert len(programs) == 2
    assert all(len(program.splitlines()) <= 20 for program in programs)
    done = subprocess.run(
        [sys.executable, "-c", programs[number]], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_boxes_in_and_ids_out(tmp_path: Path) -> None:
    seen: dict[int, list[float]] = {}
    for line in run_program(0, tmp_path):
        frame, key, left = re.match(r"(\d+) (\d+) \[\s*([\d.]+)", line).groups()  # type: ignore[union-attr]
        seen.setdefault(int(key), []).append(float(left))
        assert 0 <= int(frame) < 10
    assert sorted(seen) == [1, 2]
    right, left_going = seen[1], seen[2]
    assert right == sorted(right)
    assert left_going == sorted(left_going, reverse=True)
    assert len(right) == len(left_going) == 10


def test_images_in_and_ids_out(tmp_path: Path, vtest: Path) -> None:
    source = cv2.VideoCapture(str(vtest))
    fourcc = cv2.VideoWriter.fourcc(*"MJPG")
    target = cv2.VideoWriter(str(tmp_path / "video.avi"), fourcc, 10.0, (768, 576))
    for _ in range(20):
        target.write(source.read()[1])
    target.release()
    lines = run_program(1, tmp_path)
    stamps = [int(line.split()[0]) for line in lines]
    assert len(lines) == 20
    assert stamps == sorted(set(stamps))
    ids = [{int(key) for key in re.findall(r"\d+", line.split("[")[1])} for line in lines]
    assert set.intersection(*ids[3:]) >= {1, 2, 3}  # nobody of the first three changes the id or is lost
