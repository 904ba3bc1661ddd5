"""The interface under dev/vision_msgs is vision_msgs 4.1.1, as its type hashes show, which DDS compares too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

HASHES = {
    "Detection2DArray": "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "Detection2D": "RIHS01_0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "BoundingBox2D": "RIHS01_008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "LabelInfo": "RIHS01_3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "VisionInfo": "RIHS01_95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284",
}


@pytest.fixture(scope="module")
def share() -> Path:
    index = pytest.importorskip("ament_index_python.packages", reason="needs a ROS environment, see `make env`")
    return Path(index.get_package_share_directory("vision_msgs"))


@pytest.mark.parametrize("name", HASHES)
def test_type_hash(share: Path, name: str) -> None:
    described = json.loads((share / "msg" / f"{name}.json").read_text(encoding="utf-8"))
    hashes = {entry["type_name"]: entry["hash_string"] for entry in described["type_hashes"]}
    assert hashes[f"vision_msgs/msg/{name}"] == HASHES[name]
