"""ROS parameter files are read as a node reads them; real nodes are started with the same files."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from alstm_ros import cli
from alstm_ros.config import Config
from alstm_ros.errors import ConfigError
from alstm_ros.parameter_text import entries, load_config

HOLD = "ros__parameters"
FILES = {
    "for all": "/**:\n  ros__parameters:\n    a: 1\n",
    "for all at the root": "/*:\n  ros__parameters:\n    a: 1\n",
    "a star without slash": '"*":\n  ros__parameters:\n    a: 1\n',
    "two stars without slash": '"**":\n  ros__parameters:\n    a: 1\n',
    "anywhere": "/**/alstm:\n  ros__parameters:\n    a: 1\n",
    "in any namespace": "/*/alstm:\n  ros__parameters:\n    a: 1\n",
    "by name": "alstm:\n  ros__parameters:\n    a: 1\n",
    "by name with slash": "/alstm:\n  ros__parameters:\n    a: 1\n",
    "namespace above": "robot1:\n  alstm:\n    ros__parameters:\n      a: 1\n",
    "namespace with slash above": "/robot1:\n  alstm:\n    ros__parameters:\n      a: 1\n",
    "namespace in the name": "/robot1/alstm:\n  ros__parameters:\n    a: 1\n",
    "all of a namespace": "/robot1/*:\n  ros__parameters:\n    a: 1\n",
    "all below a namespace": "/robot1/**:\n  ros__parameters:\n    a: 1\n",
    "anywhere, name below": "/**:\n  alstm:\n    ros__parameters:\n      a: 1\n",
    "stars within": "/a/**/alstm:\n  ros__parameters:\n    a: 1\n",
    "for all afterwards": "alstm:\n  ros__parameters: {a: 1}\n/**:\n  ros__parameters: {a: 2, b: 3}\n",
    "for all before": "/**:\n  ros__parameters: {a: 2, b: 3}\nalstm:\n  ros__parameters: {a: 1}\n",
    "twice": "alstm:\n  ros__parameters: {a: 1}\nalstm:\n  ros__parameters: {b: 2}\n",
    "dotted names": "/**:\n  ros__parameters:\n    t.b: 1.5\n    t:\n      c: 2\n    q: {d.e: 3}\n",
    "overrides of QoS": "/**:\n  ros__parameters:\n    a: 1\n    qos_overrides: {/image: {subscription: {depth: 5}}}\n",
    "other nodes": "alstm:\n  ros__parameters: {a: 1}\nusb_cam:\n  ros__parameters: {framerate: 30.0}\n",
    "several namespaces": "robot1:\n  alstm: {ros__parameters: {a: 1}}\n  cam: {ros__parameters: {b: 1}}\n",
}
NODES = ("/alstm", "/robot1/alstm", "/a/b/alstm", "/a/alstm")
WORDS = "on off yes No y n true FALSE hello 1_000 12:30 2020-01-01 '1' \"off\" 1.2.3 0o10 1e e5"
NUMBERS = "1 -7 +5 0x1F 010 08 1.0 -2.5 .5 3. 1e5 3e-4 -1E+2 .inf -.inf"
SCALARS = [*WORDS.split(), *NUMBERS.split()]

READ = """
import json, sys
import rclpy
from rclpy.context import Context
from rclpy.node import Node
answers = []
for path, full in json.load(sys.stdin):
    context = Context()
    rclpy.init(args=["x", "--ros-args", "--params-file", path], context=context, domain_id=0)
    space, _, name = full.rpartition("/")
    node = Node(name, namespace=space or "/", context=context, start_parameter_services=False, enable_rosout=False)
    given = {key: parameter.value for key, parameter in node._parameter_overrides.items()}
    answers.append({key: [type(value).__name__, str(value)] for key, value in given.items()})
    node.destroy_node()
    context.shutdown()
print(json.dumps(answers))
"""


def nodes_read(asked: list[tuple[str, str]]) -> list[dict[str, list[str]]]:
    """What real nodes of these names take from these files."""
    pytest.importorskip("rclpy", reason="needs ROS 2")
    done = subprocess.run(
        [sys.executable, "-c", READ], input=json.dumps(asked), capture_output=True, text=True, check=True
    )
    answers: list[dict[str, list[str]]] = json.loads(done.stdout.splitlines()[-1])
    return answers


def described(values: dict[str, Any]) -> dict[str, list[str]]:
    return {name: [type(value).__name__, str(value)] for name, value in values.items()}


def test_entries_go_to_the_nodes_that_take_them(tmp_path: Path) -> None:
    asked, expected = [], []
    for number, text in enumerate(FILES.values()):
        path = tmp_path / f"{number}.yaml"
        path.write_text(text, encoding="utf-8")
        for full in NODES:
            values: dict[str, Any] = {}
            for entry in entries(path):
                if entry.fits(full):
                    values |= entry.values
            asked.append((str(path), full))
            expected.append(described(values))
    named = [f"{name}: {full}" for name in FILES for full in NODES]
    assert dict(zip(named, expected, strict=True)) == dict(zip(named, nodes_read(asked), strict=True))


def test_values_are_what_a_node_reads(tmp_path: Path) -> None:
    lines = [f"    p{number}: {text}" for number, text in enumerate(SCALARS)]
    path = tmp_path / "values.yaml"
    path.write_text("\n".join(["/**:", "  ros__parameters:", *lines, "    list: [1, 2]", ""]), encoding="utf-8")
    [entry] = entries(path)
    [answer] = nodes_read([(str(path), "/alstm")])
    answer["list"] = ["list", "[1, 2]"]  # an array there
    assert described(entry.values) == answer


def write(folder: Path, text: str) -> Path:
    path = folder / "given.yaml"
    path.write_text(text, encoding="utf-8")
    return path


BODY = "ros__parameters: {tracks: {birth_score: 0.5}}"


@pytest.mark.parametrize(
    "text",
    [
        f"robot1: {{alstm: {{{BODY}}}}}",
        f"/robot1/alstm: {{{BODY}}}",
        f"/robot1/*: {{{BODY}}}",
        f"/*/alstm: {{{BODY}}}",
        f"alstm: {{{BODY}}}\nusb_cam: {{ros__parameters: {{framerate: 30.0}}}}",
        f"robot1: {{alstm: {{{BODY}}}, usb_cam: {{ros__parameters: {{framerate: 30.0}}}}}}",
        "/**: {ros__parameters: {tracks.birth_score: 0.5, qos_overrides: {/image: {subscription: {depth: 5}}}}}",
        "/**: {ros__parameters: {tracks.birth_score: 0.5, map_frame: map, use_sim_time: true}}",
        f"tracker: {{{BODY}}}",
        f"alstm: {{{BODY}}}\nrobot2: {{alstm: {{ros__parameters: {{tracks.birth_score: 0.9}}}}}}",
        f"alstm: {{ros__parameters: {{tracks.birth_score: 0.9}}}}\n/**: {{{BODY}}}",
        f"/**: {{ros__parameters: {{tracks.birth_score: 0.9}}}}\nalstm: {{{BODY}}}",
    ],
)
def test_files_of_robots(tmp_path: Path, text: str) -> None:
    config = load_config(write(tmp_path, text))
    assert config.tracks.birth_score == 0.5
    assert config.output == Config().output


def test_one_of_several_nodes_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = f"robot1: {{alstm: {{{BODY}}}}}\nrobot2: {{alstm: {{ros__parameters: {{tracks.birth_score: 0.9}}}}}}"
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=r"several nodes, /robot1/alstm, /robot2/alstm; name one with --node"):
        load_config(path)
    assert load_config(path, node="/robot2/alstm").tracks.birth_score == 0.9
    given = ["track", "nowhere", "--output", "x.txt", "--config", str(path)]
    assert cli.main([*given, "--node", "/robot3/alstm"]) == 2
    assert "holds nothing for the node /robot3/alstm, only for /robot1/alstm, /robot2/alstm." in capsys.readouterr().err
    assert cli.main([*given, "--node", "/robot1/alstm"]) == 2
    assert "nothing at nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("alstm: {ros__parameters: {map_frame: map}}", "There is no parameter 'map_frame'"),
        ("/**: {ros__parameters: {tracks: {birth_scor: 0.5}}}", "did you mean 'tracks.birth_score'?"),
        ("usb_cam: {ros__parameters: {a: 1}}\nlidar: {ros__parameters: {a: 1}}", "several nodes, /usb_cam, /lidar"),
        ("alstm: {tracks: {birth_score: 0.5}}", "'alstm/tracks' holds no 'ros__parameters'"),
        ("a: &a {ros__parameters: {}}\nalstm: *a", "alias"),
        ("alstm: {ros__parameters: {tracks.birth_score: }}", "'tracks.birth_score' is None"),
    ],
)
def test_what_is_no_file_for_the_node_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as refusal:
        load_config(path)
    assert str(path) in str(refusal.value)
    assert said in str(refusal.value)


def test_numbers_without_end(tmp_path: Path) -> None:
    [entry] = entries(write(tmp_path, "/**: {ros__parameters: {a: .nan, b: -.inf}}"))
    assert math.isnan(entry.values["a"])  # type: ignore[arg-type]  # a number
    assert entry.values["b"] == -math.inf
