"""The config: its YAML, the generated files, and what belongs to it as a whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from alstm_ros.config import Config
from alstm_ros.errors import ConfigError
from alstm_ros.options import options, replace
from alstm_ros.parameter_text import load_config
from alstm_ros.reference import markdown_text, yaml_text

ROOT = Path(__file__).resolve().parents[1]


def test_the_committed_yaml_is_the_generated_one() -> None:
    written = (ROOT / "config" / "alstm.yaml").read_text(encoding="utf-8")
    assert written == yaml_text(), "run: python -m alstm_ros.reference --yaml > config/alstm.yaml"


def test_the_committed_page_is_the_generated_one() -> None:
    written = (ROOT / "docs" / "parameters.md").read_text(encoding="utf-8")
    assert written == markdown_text(), "run: python -m alstm_ros.reference --markdown > docs/parameters.md"


def test_the_yaml_holds_every_parameter_with_its_default() -> None:
    assert load_config(ROOT / "config" / "alstm.yaml") == Config()
    changed = replace(Config(), {"tracks.lost_seconds": 9.0, "cameras": ["a"], "output.id_prefix": "x"})
    assert load_config(ROOT / "config" / "alstm.yaml", changed) == Config()  # so every one of them stands in it


def test_every_parameter_has_a_description_and_numbers_have_a_range() -> None:
    for name, known in options(Config).items():
        assert known.doc.endswith("."), name
        if known.kind in {"int", "float"}:
            assert known.low is not None, name
            assert known.high is not None, name
        assert known.check(known.default) == known.default


@pytest.mark.parametrize("cameras", [["a b"], ["1st"], [""], ["a", "a"], ["a/b"]])
def test_camera_names_must_fit_into_topic_names(cameras: list[str]) -> None:
    with pytest.raises(ConfigError, match="Parameter 'cameras' is"):
        replace(Config(), {"cameras": cameras})
