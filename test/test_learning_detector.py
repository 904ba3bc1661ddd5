"""The detector's training: small runs on drawn images, its ONNX file, and what it refuses."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from alstm_ros import detection
from alstm_ros.config import Config
from alstm_ros.errors import ConfigError, DataError
from alstm_ros.options import replace

torch = pytest.importorskip("torch", reason="learning needs torch")

ROOT = Path(__file__).resolve().parents[1]
COLOURS = {"car": (40, 40, 220), "person": (220, 60, 30)}
SMALL = ["batch=4", "data.height=96", "data.width=128", "model.width=16", "model.classes=[person,car]"]
SMALL += ["offered=[car,person]", "height=192", "width=192", "warmup=0"]


def draw(folder: Path, count: int = 12, *, complete: bool = True) -> Path:
    """Images of coloured rectangles, a third of them held."""
    rng = np.random.default_rng(3)
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for k in range(count):
        image = rng.integers(90, 150, (120, 160, 3)).astype(np.uint8)
        boxes = []
        for left in (10, 90):
            name = list(COLOURS)[int(rng.integers(2))]
            x, y = left + int(rng.integers(15)), int(rng.integers(10, 40))
            wide, high = (50, 24) if name == "car" else (22, 60)
            cv2.rectangle(image, (x, y), (x + wide, y + high), COLOURS[name], -1)
            boxes.append({"box": [x, y, x + wide, y + high], "cls": name})
        boxes.append({"box": [0, 0, 5, 5], "cls": "kite"})  # a class that is not asked for
        cv2.imwrite(str(folder / f"{k}.png"), image)
        split = "train" if k % 3 else "test"
        lines.append({"file": f"{k}.png", "split": split, "complete": complete, "boxes": boxes})
    (folder / "annotations.jsonl").write_text("\n".join(json.dumps(line) for line in lines), encoding="utf-8")
    return folder


def config(folder: Path, *changes: str) -> Any:
    from alstm_ros.learning.detector.train import TrainConfig
    from alstm_ros.learning.run_files import build_config, parsed_changes, values_of

    values = {
        **values_of(ROOT / "config" / "detector.yaml"),
        **parsed_changes([*SMALL, f"data.images={folder}", *changes]),
    }
    values.pop("kind")
    return build_config(values, TrainConfig)


def trained(run: Path, images: Path, *changes: str, stop: int | None = None) -> dict[str, Any]:
    """The weights after a run, which is interrupted after `stop` steps and then resumed."""
    from alstm_ros.learning.detector.train import Trainer

    def report(done: int, losses: Mapping[str, float]) -> None:
        assert all(math.isfinite(value) for value in losses.values()), "a loss is not a number"
        if done == stop:
            raise KeyboardInterrupt

    if stop is not None:
        with pytest.raises(KeyboardInterrupt):
            Trainer(config(images, *changes), run).run(report)
        stop = None
    trainer = Trainer(config(images, *changes), run)
    trainer.run(report)
    weights: dict[str, Any] = torch.load(trainer.checkpoint, weights_only=True)["mean"]
    return weights


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all(torch.equal(value, b[name]) for name, value in a.items())


def test_a_run_is_reproducible_from_its_seed_and_goes_on_where_it_was(tmp_path: Path) -> None:
    images = draw(tmp_path / "images")
    first = trained(tmp_path / "a", images, "steps=3")
    assert same(first, trained(tmp_path / "b", images, "steps=3", stop=2))
    assert not same(first, trained(tmp_path / "c", images, "steps=3", "seed=1"))
    with pytest.raises(ConfigError, match="another 'seed'"):
        trained(tmp_path / "a", images, "steps=3", "seed=1")


def test_it_learns_to_find_what_is_drawn(tmp_path: Path) -> None:
    """From nothing, in half a minute of one core: two colours and shapes, on images held back."""
    from alstm_ros.learning.detector.data import DataConfig, pictures
    from alstm_ros.learning.detector.quality import judge
    from alstm_ros.learning.detector.teacher import Looker

    images = draw(tmp_path / "images", 45)
    changes = ["steps=200", "model.frozen=0", "trunk=1.0", "rate=0.004", "data.mosaic=0.0", "precision=fp32"]
    trained(tmp_path / "run", images, *changes)
    look = Looker(str(tmp_path / "run" / "detector.onnx"), ["person", "car"])
    held = [p for p in pictures(DataConfig(images=str(images)), ["person", "car"]) if p.held]
    judged = judge([look(p.image) for p in held], [p.boxes for p in held if p.boxes is not None], ["person", "car"])
    assert [quality.name for quality in judged] == ["person", "car"]
    assert np.mean([quality.curve.average_precision for quality in judged]) > 0.3, judged
    from alstm_ros.learning.detector.quality import hits

    scores = np.concatenate([quality.curve.scores for quality in judged])
    right = np.concatenate([hits(quality.curve) for quality in judged])
    bins = np.minimum((scores * 10).astype(int), 9)
    gaps = [abs(float(np.sum(scores[bins == k] - right[bins == k]))) for k in range(10)]
    assert sum(gaps) / len(scores) < 0.1  # expected calibration error; calibrated on these very images


def test_the_file_gives_what_the_network_gives(tmp_path: Path) -> None:
    from alstm_ros.learning.detector.export import CANDIDATES, Calibration, export
    from alstm_ros.learning.detector.model import DetectorNet, ModelConfig, boxes, centres

    torch.manual_seed(5)
    net = DetectorNet(ModelConfig(("person", "car", "dog"), width=16))
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):  # as if it had been trained
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 2)
    net.eval()
    images = np.random.default_rng(0).integers(0, 256, (2, 192, 256, 3)).astype(np.uint8)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    with torch.no_grad():
        spread = net(pixels)[0].std()
        for head in net.score:  # so that cells differ
            head.weight *= 2 / spread
    tune = Calibration(1.3, -0.4)
    about = {"height": "192", "width": "256", "licence": "MIT"}
    export(net, tmp_path / "net.onnx", ["dog", "person"], about, tune)
    changes = {"detector.model": str(tmp_path / "net.onnx"), "engine.runtime": "onnxruntime"}
    detector = detection.load_detector(replace(Config(), changes))
    assert detector.classes == ("dog", "person")
    assert detector.card.licence == "MIT"

    [batch] = detector.batches(list(images))
    given = detector.run(batch)
    with torch.no_grad():
        logits, sides = net(pixels)
    chances = torch.sigmoid(tune.scale * logits[..., [2, 0]] + tune.shift)
    best, rows = chances.amax(2).topk(CANDIDATES, 1)
    placed = boxes(sides, *centres(192, 256))
    np.testing.assert_allclose(given["scores"], best.numpy(), atol=2e-5)
    far = best[:, :-1] - best[:, 1:] > 1e-5  # scores as good as equal may swap ranks
    clear = torch.nn.functional.pad(far, (1, 0), value=True) & torch.nn.functional.pad(far, (0, 1), value=True)
    assert clear.sum() > 50
    wanted = torch.gather(placed, 1, rows[..., None].expand(-1, -1, 4))[clear]
    np.testing.assert_allclose(given["boxes"][clear.numpy()], wanted.numpy(), atol=0.01, rtol=1e-4)
    kinds = torch.gather(chances.argmax(2), 1, rows)[clear]
    np.testing.assert_array_equal(given["classes"][clear.numpy()], kinds.numpy())
    np.testing.assert_allclose(np.linalg.norm(given["features"], axis=2), 1, atol=1e-5)


def test_labels_that_several_looks_agree_on_are_merged() -> None:
    from alstm_ros.learning.detector.teacher import fuse

    one = np.array([[10, 10, 20, 30, 0.9, 0], [50, 50, 60, 60, 0.4, 1]], np.float32)
    two = np.array([[12, 10, 22, 30, 0.3, 0], [10, 10, 20, 30, 0.5, 1]], np.float32)
    found = fuse([one, two, np.zeros((0, 6), np.float32), np.zeros((0, 6), np.float32)])
    np.testing.assert_allclose(found[0], [10.5, 10, 20.5, 30, 0.6, 0], rtol=1e-6)  # weighted; 1.2 of the best two looks
    np.testing.assert_allclose(found[1:, 4], [0.25, 0.2])
    assert len(fuse([np.zeros((0, 6), np.float32)])) == 0


def test_a_teacher_labels_what_nobody_did(tmp_path: Path, shared: Path) -> None:
    from alstm_ros.learning.detector.train import Trainer

    images = draw(tmp_path / "images", 3, complete=False)
    cv2.imwrite(str(images / "0.png"), cv2.imread(str(shared / "images" / "street" / "000001.jpg")))
    teacher = shared / "models" / "yolox_nano_dyn.onnx"
    trainer = Trainer(config(images, f"data.teachers=[{teacher}]"), tmp_path / "run")
    items, held = trainer.look()
    assert [picture.name for picture in held] == ["0.png"]
    assert any(row[5] == 0 and row[4] > 0.5 for row in items[0].labels), items[0].labels
    again = Trainer(config(images, f"data.teachers=[{teacher}]"), tmp_path / "run")
    teacher_less = again.look()[0]  # from the folder's labels: nobody is asked twice
    np.testing.assert_array_equal(items[0].labels, teacher_less[0].labels)
    with pytest.raises(ConfigError, match=r"data\.teachers must name"):
        Trainer(config(images), tmp_path / "other").look()


def test_labels_outlive_an_interruption(tmp_path: Path, shared: Path) -> None:
    from alstm_ros.learning.detector.train import Trainer

    images = draw(tmp_path / "images", 4, complete=False)
    teacher = shared / "models" / "yolox_nano_dyn.onnx"
    asked: list[str] = []

    def interrupt(name: str) -> None:
        asked.append(name)
        if len(asked) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trainer(config(images, f"data.teachers=[{teacher}]"), tmp_path / "run").look(interrupt)
    Trainer(config(images, f"data.teachers=[{teacher}]"), tmp_path / "run").look(asked.append)
    assert asked == [f"{k}.png" for k in range(4)]


def test_objects_that_leave_the_image_are_no_longer_asked_for() -> None:
    from alstm_ros.learning.detector.augment import DOUBT, Item, compose
    from alstm_ros.learning.detector.losses import DOUBTFUL, SURE

    assert DOUBTFUL <= DOUBT < SURE
    image = np.zeros((100, 100, 3), np.uint8)
    image[40:60, 30:50] = 255
    item = Item(image, np.array([[30, 40, 50, 60, 1, 0]], np.float32))
    for seed in range(60):
        canvas, labels = compose(np.random.default_rng(seed), [item], 64, 96)
        for left, top, right, bottom, score, _ in labels:
            assert 0 <= left <= right <= 96
            assert 0 <= top <= bottom <= 64
            middle = canvas[int((top + bottom) / 2), int((left + right) / 2)]
            assert score == DOUBT or middle.min() > 200, "the label is not where the square is"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("precision=fp8", "must be bf16 or fp32"),
        ("steps=0", "steps is 0"),
        ("data.height=100", "data.height is 100"),
        ("data.mosaic=2.0", "data.mosaic is 2.0"),
        ("model.frozen=9", "model.frozen is 9"),
        ("model.classes=[]", "model.classes is"),
        ("offered=[zebra]", "offered names zebra"),
        ("colour=1", "no training parameter 'colour'"),
    ],
)
def test_a_wrong_change_is_refused_with_a_sentence(tmp_path: Path, change: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        config(tmp_path, change)


def test_what_cannot_be_read_is_refused_with_a_sentence(tmp_path: Path) -> None:
    from alstm_ros.learning.detector.train import Trainer

    def look(folder: Path, *changes: str) -> None:
        Trainer(config(folder, *changes), tmp_path / "run").look()

    with pytest.raises(DataError, match="must be a folder that holds annotations"):
        look(tmp_path)
    with pytest.raises(ConfigError, match="must be weights"):
        look(tmp_path, f"start={ROOT / 'README.md'}")
    odd: dict[str, Any] = {"stem.conv.weight": np.zeros(3, np.float32)}
    np.savez(tmp_path / "odd.npz", **odd)
    with pytest.raises(ConfigError, match=r"hold 'stem.conv.weight' of shape \(3,\)"):
        look(tmp_path, f"start={tmp_path / 'odd.npz'}")
    images = draw(tmp_path / "images", 3)
    with pytest.raises(DataError, match="cannot be read as a video"):
        look(images, f"data.videos=[{images / '0.txt'}]")
    with pytest.raises(DataError, match="no labelled image outside"):
        look(draw(tmp_path / "one", 1))
    (images / "2.png").unlink()
    with pytest.raises(DataError, match="is no image"):
        look(images)
    (images / "annotations.jsonl").write_text('{"file": 1}', encoding="utf-8")
    with pytest.raises(DataError, match="line 1, is no image"):
        look(images)


def test_the_command_prints_the_model_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from alstm_ros.cli import main

    images = draw(tmp_path / "images")
    given = ["train", str(ROOT / "config" / "detector.yaml"), *SMALL, "steps=2", f"data.images={images}"]
    assert main([*given, "--output", str(tmp_path / "run"), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["steps"] == 2
    assert Path(answer["model"]).is_file()
    assert list((tmp_path / "run" / "tensorboard").iterdir())
