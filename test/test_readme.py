"""What README and the other pages say is compared with what is there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "alstm_ros" / "models").glob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_make_targets_and_scripts_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"(?:^|`)make ([a-z][a-z-]*)", text, re.MULTILINE))
    assert {target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()
    scripts = set(re.findall(r"\b((?:bench|dev|examples|test)/[\w./-]+\.(?:py|sh))", text))
    assert {script for script in scripts if not (ROOT / script).is_file()} == set()


def test_launch_arguments_are_those_of_the_launch_file() -> None:
    launch_file = (ROOT / "launch" / "alstm.launch.py").read_text(encoding="utf-8")
    there = set(re.findall(r'^    "(\w+)": \(', launch_file, re.MULTILINE))
    sentence = README[README.index("The launch file's arguments") :].partition("\n\n")[0]
    told = set(re.findall(r"`(\w+)`", sentence))
    assert told == there


def test_quoted_messages_stand_in_the_code() -> None:
    section = README[README.index("## When something is wrong") :].partition("\n## ")[0]
    code = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "alstm_ros" / "ros").glob("*.py"))
    fragments = [part.strip() for quote in re.findall(r'"([^"]+)"', section) for part in quote.split("...")]
    words = [re.sub(r"^has 1 publisher but ", "", fragment) for fragment in fragments if fragment]
    said = re.sub(r'"\s*\n\s*f?"', "", code)
    plain = re.sub(r"\{[^}]*\}", "", said)
    assert [text for text in words if text not in plain and text not in said] == []


def test_topics_and_services_are_those_of_the_node() -> None:
    pytest.importorskip("rclpy", reason="ROS is not installed")
    from ros_harness import Ros
    from ros_process import NodeProcess, domain

    table = README[README.index("| topic | type | what |") :].partition("\n\n")[0]
    told = {name.replace("~", "/alstm") for name in re.findall(r"^\| `([~/][\w/~]*)`", table, re.MULTILINE)}
    own = {"/rosout", "/parameter_events", "/alstm/transition_event"}  # every lifecycle node's
    with domain() as number:
        node, ros = NodeProcess(number), Ros(number)

        def published() -> set[str]:
            if ("alstm", "/") not in ros.node.get_node_names_and_namespaces():
                return set()  # its services answer before discovery names the node
            return {name for name, _ in ros.node.get_publisher_names_and_types_by_node("alstm", "/")} - own

        def served() -> set[str]:
            return {name for name, _ in ros.node.get_service_names_and_types_by_node("alstm", "/")}

        try:
            ros.until(lambda: ros.state("alstm") == "active", "the active state")
            ros.until(lambda: published() >= told, f"all of {sorted(told)}")
            assert published() == told
            ros.until(lambda: served() >= {"/alstm/reset", "/alstm/enable"}, "both services")
        finally:
            ros.close()
            code = node.stop()
    assert code == 0


def test_the_package_is_cheap_to_import() -> None:
    script = (
        "import sys, alstm_ros; print(sorted({'rclpy', 'torch', 'onnxruntime', 'cv2', 'numpy'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script]
    assert subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT / "test").stdout == "[]\n"
