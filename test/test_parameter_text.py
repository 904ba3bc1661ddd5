"""Parameters as people write them: the node's YAML, numbers, NAME=VALUE, and what is said of a wrong one."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alstm_ros import cli
from alstm_ros.config import Config
from alstm_ros.detection import load_detector
from alstm_ros.errors import ConfigError
from alstm_ros.options import replace
from alstm_ros.parameter_text import assigned, load_config, parse_yaml, user_path


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
    config = load_config(write(tmp_path, text))
    assert (config.tracks.lost_seconds, config.tracks.confirm_hits) == (4.0, 3)
    assert config.cameras == ("front", "rear")


@pytest.mark.parametrize(("word", "meant"), [("off", "none"), ("false", "none"), ("none", "none"), ("on", "auto")])
def test_yaml_reads_off_as_false_and_it_still_means_none(tmp_path: Path, word: str, meant: str) -> None:
    text = f"/**: {{ros__parameters: {{motion: {{camera: {word}}}}}}}"
    assert load_config(write(tmp_path, text)).motion.camera == meant
    assert replace(Config(), assigned([f"motion.camera={word}"], "")).motion.camera == meant


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
        load_config(path)
    assert str(path) in str(refusal.value)
    assert sentence in str(refusal.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no parameter file .*none\.yaml"):
        load_config(tmp_path / "none.yaml")


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(["{}", "{:e}", "{:.0e}", "{:G}", "{:+.3e}"]))
def test_a_number_is_read_as_python_and_c_write_it(number: float, form: str) -> None:
    text = form.format(number)
    found = parse_yaml(text)
    assert isinstance(found, int | float)  # not a text
    assert found == float(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("3e-4", 3e-4), ("1E5", 1e5), ("-.5e+1", -5.0), ("2.e3", 2000.0), ("7", 7), ("0.25", 0.25), ("-.inf", -math.inf)],
)
def test_numbers_are_read_as_people_write_them(text: str, value: float) -> None:
    assert parse_yaml(text) == value
    assert parse_yaml(f"[{text}, {text}]") == [value, value]
    assert assigned([f"rate={text}"], "seed=1") == {"rate": value}
    assert type(parse_yaml(text)) is type(value)


@pytest.mark.parametrize("text", ["e5", "3e", "3e-4x", "1.2.3e4", "yolo3e-4", "'3e-4'", "", "3 e4"])
def test_what_only_looks_like_a_number_is_none(text: str) -> None:
    assert not isinstance(parse_yaml(text), int | float)


def test_a_file_takes_such_numbers_too(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, "/**: {ros__parameters: {tracks: {high_score: 5e-1, lost_seconds: 1e1}}}"))
    assert (config.tracks.high_score, config.tracks.lost_seconds) == (0.5, 10.0)


def test_the_commands_take_such_numbers_too(capsys: pytest.CaptureFixture[str]) -> None:
    """Each refuses something else, after the number."""
    assert cli.main(["track", "nowhere", "--output", "x.txt", "--set", "tracks.high_score=5e-1"]) == 2
    assert "nowhere" in capsys.readouterr().err
    assert cli.main(["track", "nowhere", "--output", "x.txt", "--set", "tracks.high_score=5e0"]) == 2
    assert "'tracks.high_score' is 5.0; it must be a number from 0 to 1." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("word", "sentence"),
    [("seed", "'seed' lacks its '='; it must look like seed=1."), ("a=[1", "The value in 'a=[1' cannot be read: ")],
)
def test_a_wrong_assignment_is_a_sentence(word: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        assigned([word], "seed=1")
    assert str(refusal.value).startswith(sentence)


def test_the_last_assignment_wins() -> None:
    assert assigned(["a=1", "b=x=y", "a=2"], "a=1") == {"a": 2, "b": "x=y"}


def test_nothing_after_the_equals_sign_is_an_empty_text() -> None:
    """As a shell passes NAME="": `--set association.model=` is tracking by the rules alone."""
    assert assigned(["association.model="], "seed=1") == {"association.model": ""}


def test_a_home_folder_that_nobody_has_is_a_sentence() -> None:
    assert user_path("~/x") == Path.home() / "x"
    with pytest.raises(ConfigError, match="'~nobody-here/x' names a home folder that is not known"):
        user_path("~nobody-here/x")
    with pytest.raises(ConfigError, match="zero byte"):
        user_path("a\0b")
    with pytest.raises(ConfigError, match="'~nobody-here/x'"):
        load_detector(replace(Config(), {"detector.model": "~nobody-here/x"}))
