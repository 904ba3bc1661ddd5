"""The config: its YAML, the generated files, and what belongs to it as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from alstm_ros.config import Config, load
from alstm_ros.errors import ConfigError
from alstm_ros.options import options, replace
from alstm_ros.reference import markdown_text, yaml_text

ROOT = Path(__file__).resolve().parents[1]


def test_the_committed_yaml_is_the_generated_one() -> None:
    written = (ROOT / "config" / "alstm.yaml").read_text(encoding="utf-8")
    assert written == yaml_text(), "run: python -m alstm_ros.reference --yaml > config/alstm.yaml"


def test_the_committed_page_is_the_generated_one() -> None:
    written = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert written == markdown_text(), "run: python -m alstm_ros.reference --markdown > docs/parameters.md"


def test_the_yaml_holds_every_parameter_with_its_default() -> None:
    assert load(ROOT / "config" / "alstm.yaml") == Config()
    changed = replace(Config(), {"tracks.lost_seconds": 9.0, "cameras": ["a"], "output.id_prefix": "x"})
    assert load(ROOT / "config" / "alstm.yaml", changed) == Config()  # so every one of them stands in it


def test_every_parameter_has_a_description_and_numbers_have_a_range() -> None:
    for name, known in options(Config).items():
        assert known.doc.endswith("."), name
        if known.kind in {"int", "float"}:
            assert known.low is not None, name
            assert known.high is not None, name
        assert known.check(known.default) == known.default


def write(folder: Path, text: str) -> Path:
    path = folder / "given.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_nodes_yaml_is_read_and_later_parts_win(tmp_path: Path) -> None:
    text = """
/**:
  ros__parameters:
    use_sim_time: true
    tracks: {lost_seconds: 2, confirm_hits: 3}
/robot/alstm:
  ros__parameters:
    tracks.lost_seconds: 4.0
    cameras: [front, rear]
"""
    config = load(write(tmp_path, text))
    assert (config.tracks.lost_seconds, config.tracks.confirm_hits) == (4.0, 3)
    assert config.cameras == ("front", "rear")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("tracks: {lost_seconds: 2}", "'tracks' holds no 'ros__parameters'"),
        ("/**: {ros__parameters: {}}", "holds no parameters"),
        ("", "holds no parameters"),
        ("a: [", "cannot be read"),
        ("/**: {ros__parameters: {tracks: {lost_second: 2}}}", "did you mean 'tracks.lost_seconds'?"),
        (
            "/**: {ros__parameters: {tracks: {lost_seconds: -1}}}",
            "'tracks.lost_seconds' is -1.0; it must be a number from",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_its_name(tmp_path: Path, text: str, sentence: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as refusal:
        load(path)
    assert str(path) in str(refusal.value)
    assert sentence in str(refusal.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.yaml")


@pytest.mark.parametrize("cameras", [["a b"], ["1st"], [""], ["a", "a"], ["a/b"]])
def test_camera_names_must_fit_into_topic_names(cameras: list[str]) -> None:
    with pytest.raises(ConfigError, match="Parameter 'cameras' is"):
        replace(Config(), {"cameras": cameras})
