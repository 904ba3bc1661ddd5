"""The golden hashes: a cheap part runs, is the same again, and what differs or is left out is named."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

ROOT = Path(__file__).resolve().parents[1]


def golden(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bench.golden", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_same_twice_and_a_difference_is_named(tmp_path: Path) -> None:
    file = tmp_path / "before.json"
    assert golden("--part", "models", "--json", str(file)).returncode == 0
    again = golden("--part", "models", "--against", str(file))
    assert again.returncode == 0, again.stdout
    assert f"The same as in {file}: models" in again.stdout
    before = json.loads(file.read_text(encoding="utf-8"))
    assert {"association.onnx", "association.onnx weights"} <= before["parts"]["models"].keys()
    before["parts"]["models"]["association.onnx"] = 64 * "0"
    before["parts"]["models"]["gone.onnx"] = before["parts"]["models"].pop("detector.onnx")
    file.write_text(json.dumps(before), encoding="utf-8")
    other = golden("--part", "models", "--against", str(file))
    assert other.returncode == 1
    assert "models: association.onnx differs, 000000000000 before" in other.stdout
    assert "models: gone.onnx is gone" in other.stdout
    assert "models: detector.onnx is new" in other.stdout


def test_what_is_missing_is_left_out_with_its_reason(tmp_path: Path) -> None:
    file = tmp_path / "now.json"
    done = golden("--part", "mot17", "--shared", str(tmp_path), "--json", str(file))
    assert done.returncode == 0, done.stderr
    assert "mot17 is left out: there is no mot17 in shared/data/" in done.stdout
    assert json.loads(file.read_text(encoding="utf-8"))["left_out"].keys() == {"mot17"}
    there = {"machine": {}, "parts": {"mot17": {"a.txt": 64 * "0"}}, "left_out": {}}
    file.write_text(json.dumps(there), encoding="utf-8")
    other = golden("--part", "mot17", "--shared", str(tmp_path), "--against", str(file))
    assert other.returncode == 1
    assert "mot17: not there now (there is no mot17 in shared/data/)" in other.stdout


@pytest.mark.parametrize("change", ["name", "value", "metadata"])
def test_the_weights_have_a_hash_of_their_own(change: str, tmp_path: Path) -> None:
    from bench.golden import weights

    source = ROOT / "alstm_ros" / "models" / "association.onnx"
    model = onnx.load(source)
    first = model.graph.initializer[0]
    if change == "name":
        first.name += "_"
    elif change == "value":
        first.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(first) + 1, first.name))
    else:
        model.metadata_props.add(key="golden", value="hash")
    onnx.save(model, tmp_path / "changed.onnx")
    assert (weights(source) == weights(tmp_path / "changed.onnx")) == (change == "metadata")
