"""`alstm check`: what a file is taken for, and a picture of what it finds."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from alstm_ros import cli

pytest.importorskip("torch", reason="the small networks are written in torch")
from foreign_heads import HEIGHT, OBJECTS, WIDTH

foreign = pytest.importorskip("foreign_models")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "street.png"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 90, (HEIGHT, WIDTH, 3)).astype(np.uint8))
    return path


def test_what_a_file_finds_is_told_and_drawn(tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(foreign.export("yolov8"), tmp_path / "model.onnx")
    options = ["--output", str(tmp_path / "out.png"), "--set", "detector.class_names=[cat, dog, yak]", "--json"]
    assert cli.main(["check", str(tmp_path / "model.onnx"), "--image", str(picture), *options]) == 0
    out, said = capsys.readouterr()
    [reading] = json.loads(out)["readings"]
    assert reading["layout"] == "yolo"
    found = {one["class"]: one["box"] for one in reading["objects"]}
    assert set(found) == {("cat", "dog", "yak")[kind] for kind, *_ in OBJECTS}
    for kind, _, box, _ in OBJECTS:
        np.testing.assert_allclose(found[("cat", "dog", "yak")[kind]], box, atol=0.6)
    assert "read as yolo, 3 classes: 3 objects" in said
    before, after = (np.asarray(cv2.imread(str(path))) for path in (picture, tmp_path / "out.png"))
    assert before.shape == after.shape
    left, top, right, bottom = map(int, OBJECTS[0][2])
    changed = np.any(before != after, axis=2)
    assert changed[top : bottom + 1, left].mean() > 0.8, "the box's left side"
    assert changed[top : bottom + 1, right].mean() > 0.8


def test_where_several_layouts_fit_each_is_drawn(
    tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(foreign.export("yolox decoded"), tmp_path / "model.onnx")
    arguments = ["check", str(tmp_path / "model.onnx"), "--image", str(picture)]
    assert cli.main([*arguments, "--output", str(tmp_path / "out.png")]) == 1
    said = capsys.readouterr().err
    assert "can be read in 2 ways: yolox or yolo_rows" in said
    assert {path.name for path in tmp_path.glob("out*.png")} == {"out-yolox.png", "out-yolo_rows.png"}
    assert "read as yolox, 3 classes: 3 objects" in said
    assert cli.main([*arguments, "--set", "detector.decoder=yolox", "--output", str(tmp_path / "one.png")]) == 0


def test_what_cannot_be_read_or_written_is_a_sentence(
    tmp_path: Path, picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(foreign.export("yolov8"), tmp_path / "model.onnx")
    model, image = str(tmp_path / "model.onnx"), str(picture)
    (tmp_path / "text.png").write_text("no picture")
    for arguments, sentence in (
        ([model, "--image", str(tmp_path / "none.png")], "cannot be read: No such file"),
        ([model, "--image", str(tmp_path / "text.png")], "image"),
        ([model, "--image", image, "--output", str(tmp_path / "no" / "x.png")], "cannot be written"),
        ([model, "--image", image, "--output", str(tmp_path / "x.docx")], "its name must end in .png or .jpg"),
        ([str(tmp_path / "none.onnx"), "--image", image], "There is no model file"),
    ):
        assert cli.main(["check", *arguments]) == 2
        said = capsys.readouterr().err
        assert sentence in said
        assert said.startswith("alstm check: ")
        assert said.count("\n") == 1
