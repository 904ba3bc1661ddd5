"""The examples, and every command of the pages about recordings, run as they stand there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import recordings

from alstm_ros.types import Image

ROOT = Path(__file__).resolve().parents[1]
FRAMES = 40
DAYS = ("monday", "tuesday", "friday")
# The command as a user has it, but for the detector (of blobs, which the recordings show) and trainings of two steps.
ALSTM = """#!/usr/bin/env bash
exec {python} -c '
import sys
sys.path[:0] = ["{root}", "{root}/test"]
from alstm_ros import cli
from alstm_ros.commands import track
from alstm_ros.commands import tune
from alstm_ros.commands import bootstrap as bootstrap_command
from blobs import Blobs
track.load_detector = tune.load_detector = bootstrap_command.load_detector = Blobs
if sys.argv[1] == "train":
    from alstm_ros.learning import fine_tuning as command
    short = {{"steps": [2], "batch": 2, "recorders": 1, "data.clips": 3, "data.frames": 40, "data.window": 20}}
    command.FINE_TUNING = {{**command.FINE_TUNING, **short}}
    if any(given.endswith(".yaml") for given in sys.argv):
        sys.argv += [f"{{name}}={{value}}" for name, value in short.items()]
sys.exit(cli.main())
' "$@"
"""


def places(number: int, day: int) -> list[tuple[int, int, int]]:
    """Left, top and brightness of each blob: bright ones that a track is born of at once, and a dim one."""
    return [
        (5 + 3 * number, 10 + 5 * day, 230),
        (150 - 3 * number, 50 + 5 * day, 225),
        (20 + 2 * number + 5 * day, 100, 160),
    ]


def scene(number: int, day: int) -> Image:
    """A day's picture, 160x140, blobs of 24x30."""
    picture = np.full((140, 180, 3), 10, np.uint8)
    for left, top, brightness in places(number, day):
        picture[top : top + 30, max(left, 0) : left + 24] = brightness
    return picture


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with bags, ground truth and the command, as the page describes it."""
    for day, name in enumerate((*DAYS, "sunday")):
        monkeypatch.setattr(recordings, "scene", lambda number, day=day: scene(number, day))
        recordings.write_bag(tmp_path / ("bags" if name in DAYS else "unseen") / name, range(1, FRAMES + 1))
        folder = tmp_path / ("truth" if name in DAYS else "unseen_truth") / name
        folder.mkdir(parents=True)
        lines = [
            f"{number},{key},{left},{top},24,30,1,1,1"
            for number in range(1, FRAMES + 1)
            for key, (left, top, _) in enumerate(places(number, day), 1)
        ]
        (folder / "gt.txt").write_text("\n".join(lines), encoding="utf-8")
        info = f"[Sequence]\nname={name}\nframeRate=10\nseqLength={FRAMES}\nimWidth=180\nimHeight=140\n"
        (folder / "seqinfo.ini").write_text(info, encoding="utf-8")
    (tmp_path / "sequences").symlink_to(tmp_path / "truth")
    (tmp_path / "config").symlink_to(ROOT / "config")
    command = tmp_path / "bin" / "alstm"
    command.parent.mkdir()
    command.write_text(ALSTM.format(python=sys.executable, root=ROOT), encoding="utf-8")
    command.chmod(0o755)
    return tmp_path


def call(desk: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PATH": f"{desk / 'bin'}:{os.environ['PATH']}",
        "XDG_CACHE_HOME": str(desk / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    return subprocess.run(command, cwd=desk, env=environment, capture_output=True, text=True, check=False, timeout=800)


def test_evaluate_in_ci(desk: Path) -> None:
    script = str(ROOT / "examples" / "evaluate_in_ci.sh")
    parameters = str(ROOT / "config" / "alstm.yaml")
    good = call(desk, script, "bags", "truth", parameters, "DetA>=30 FP<=30")
    assert good.returncode == 0, good.stderr
    assert "all" in good.stdout
    assert "<h2>friday</h2>" in (desk / "report.html").read_text(encoding="utf-8")
    bad = call(desk, script, "bags", "truth", parameters, "HOTA>=99.9")
    assert bad.returncode == 1
    assert "not good enough: HOTA is" in bad.stderr


def test_tune_yaml(desk: Path) -> None:
    script = str(ROOT / "examples" / "tune_yaml.sh")
    done = call(desk, script, "bags", "truth", "unseen/sunday", "unseen_truth", "20")
    assert done.returncode == 0, done.stderr
    before, after = (float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("sunday"))
    assert after > before  # the dim blob is followed, too


def test_label_a_few_frames(desk: Path) -> None:
    done = call(desk, str(ROOT / "examples" / "label_a_few_frames.sh"), "bags/monday", "ls")
    assert done.returncode == 0, done.stderr
    tree = json.loads((desk / "labels" / "draft.json").read_text(encoding="utf-8"))
    assert [item["id"] for item in tree["images"]] == [1, 11, 21, 31]
    assert all((desk / "labels" / item["file_name"]).is_file() for item in tree["images"])
    assert "draft" in done.stdout


def test_bootstrap_and_fine_tune(desk: Path) -> None:
    """Two steps of training on three blobs make nothing better, and the script says so."""
    pytest.importorskip("torch", reason="learning needs torch")
    script = str(ROOT / "examples" / "bootstrap_and_fine_tune.sh")
    done = call(desk, script, "bags", "bags", "truth", "seed=1")
    assert (desk / "fine-tuned" / "association.onnx").is_file()
    assert sorted(path.stem for path in (desk / "after").iterdir()) == sorted(DAYS)
    assert "95 % interval" in done.stdout, done.stderr
    assert done.returncode == 1
    assert "not good enough: +AssA is" in done.stderr
    assert "Ship it" not in done.stdout


def run_page(desk: Path, name: str) -> int:
    """Runs every command of a page, one block after the other; returns how many blocks there are."""
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "docs" / name).read_text(encoding="utf-8"), re.DOTALL)
    for block in blocks:
        done = call(desk, "bash", "-euo", "pipefail", "-c", block)
        assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"
    return len(blocks)


def test_every_command_about_results(desk: Path) -> None:
    assert run_page(desk, "results.md") == 1
    assert sorted(path.stem for path in (desk / "network").iterdir()) == sorted(DAYS)


def test_every_command_about_learning(desk: Path) -> None:
    pytest.importorskip("torch", reason="learning needs torch")
    assert run_page(desk, "learning.md") >= 7
    assert sorted(path.stem for path in (desk / "bootstrapped").iterdir()) == sorted(DAYS)
    for folder in ("fine-tuned", "corrected", "train/mine"):
        assert (desk / folder / "association.onnx").stat().st_size > 0


def test_every_command_about_evaluation(desk: Path) -> None:
    assert run_page(desk, "evaluation.md") >= 8
    assert json.loads((desk / "scores.json").read_text(encoding="utf-8"))["requirements"]
    for name in ("monday.mp4", "report.html", "monday.html", "tuned.yaml", "better.txt", "labels/monday.json"):
        assert (desk / name).stat().st_size > 0


def test_every_example_is_run_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    for path in (ROOT / "examples").iterdir():
        assert f'"{path.name}"' in text, f"{path.name} is run by no test"
