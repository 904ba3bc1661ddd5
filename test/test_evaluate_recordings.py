"""What `alstm evaluate` reads: bags, matched by stamps, and JSON Lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recordings
from rosbags.rosbag2 import StoragePlugin, Writer
from walked_labels import evaluate, walk, write_text

from alstm_ros.errors import DataError
from alstm_ros.evaluation.scoring import score_sequence
from alstm_ros.recordings.interfaces import typestore
from alstm_ros.recordings.labels import Labels
from alstm_ros.recordings.track_files import align, read_result, read_truth


def detections_bag(path: Path, labels: Labels, delay_ns: int = 0, *, every: int = 1, class_id: str = "person") -> Path:
    """A bag with one Detection2DArray for each frame, recorded so long after its stamp."""
    store = typestore()
    types = store.types
    kind = "vision_msgs/msg/Detection2DArray"
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection("/tracked", kind, typestore=store)
        for frame in range(1, labels.length + 1, every):
            header = recordings.header(recordings.stamp(frame))
            found = [
                _detection(types, header, labels, row, class_id)
                for row in np.flatnonzero(labels.frames == frame).tolist()
            ]
            message = types[kind](header=header, detections=found)
            writer.write(connection, recordings.stamp(frame) + delay_ns, store.serialize_cdr(message, kind))
    return path


def _detection(types: Any, header: Any, labels: Labels, row: int, class_id: str) -> Any:
    left, top, right, bottom = labels.boxes[row].tolist()
    pose = types["geometry_msgs/msg/PoseWithCovariance"](
        pose=types["geometry_msgs/msg/Pose"](
            position=types["geometry_msgs/msg/Point"](x=0.0, y=0.0, z=0.0),
            orientation=types["geometry_msgs/msg/Quaternion"](x=0.0, y=0.0, z=0.0, w=1.0),
        ),
        covariance=np.zeros(36),
    )
    best = types["vision_msgs/msg/ObjectHypothesis"](class_id=class_id, score=float(labels.scores[row]))
    centre = types["vision_msgs/msg/Point2D"](x=(left + right) / 2, y=(top + bottom) / 2)
    return types["vision_msgs/msg/Detection2D"](
        header=header,
        results=[types["vision_msgs/msg/ObjectHypothesisWithPose"](hypothesis=best, pose=pose)],
        bbox=types["vision_msgs/msg/BoundingBox2D"](
            center=types["vision_msgs/msg/Pose2D"](position=centre, theta=0.0),
            size_x=right - left,
            size_y=bottom - top,
        ),
        id=f"robot-{labels.ids[row]}",
    )


def test_bags_are_matched_by_stamps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = walk(30, {1: (1, 30), 2: (1, 30)})
    target = detections_bag(tmp_path / "truth", truth)
    live = detections_bag(tmp_path / "live", truth, delay_ns=25_000_000, every=2)
    assert evaluate(live, "--gt", target, "--json", "--report", tmp_path / "r.html") == 0
    numbers = json.loads(capsys.readouterr().out)["all"]
    assert (numbers["FP"], numbers["FN"], numbers["IDSW"]) == (0, 30, 0)  # every second frame was dropped
    assert numbers["latency_p50"] == pytest.approx(25)
    assert "<h3>Speed: latency of each frame</h3>" in (tmp_path / "r.html").read_text(encoding="utf-8")

    text = write_text(tmp_path / "gt.txt", truth, truth=True)
    assert evaluate(live, "--gt", text) == 2
    assert "frames were dropped" in capsys.readouterr().err
    whole = detections_bag(tmp_path / "whole", truth)
    assert evaluate(whole, "--gt", text, "--require", "MOTA==100") == 0


def test_frames_without_truth_are_told(tmp_path: Path) -> None:
    truth = walk(30, {1: (1, 30)})
    target = read_truth(detections_bag(tmp_path / "truth", truth, every=3))
    result = align(target, read_result(detections_bag(tmp_path / "result", truth)))
    assert result.labels.length == target.labels.length == 10
    assert score_sequence(target, result, "none").score.numbers["MOTA"] == 100
    assert result.problems == ("20 frames of result have no ground truth and are left out.",)


def test_jsonl_knows_raw_boxes(tmp_path: Path) -> None:
    lines = []
    for frame in range(1, 11):
        box = [10 + frame, 20, 50 + frame, 100]
        track = {"id": "1", "class": "person", "score": 0.9, "box": box, "state": "confirmed", "detection": 0}
        lost = {**track, "id": "2", "state": "lost", "detection": None}
        found = {"class": "person", "score": 0.5, "box": [box[0] + 5, *box[1:]]}
        line = {"frame": frame, "stamp_ns": frame * 10, "tracks": [track, lost], "detections": [found]}
        lines.append(json.dumps(line))
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    result = read_result(path)
    assert result.raw is not None
    assert result.labels.ids.tolist() == [1] * 10
    assert result.labels.stamps_ns.tolist() == list(range(10, 101, 10))
    np.testing.assert_array_equal(result.raw.boxes[:, 0] - result.labels.boxes[:, 0], 5)
    assert set(result.raw.scores.tolist()) == {0.5}
    path.write_text('{"frame": 1}', encoding="utf-8")
    with pytest.raises(DataError, match="no JSON Lines"):
        read_result(path)
