"""Checks that every key of package.xml is known to rosdep, for each ROS distribution that is served.

python dev/check_rosdep.py FOLDER [DISTRIBUTION ...]

FOLDER is a checkout of https://github.com/ros/rosdistro.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import yaml

SERVED = ("humble", "jazzy", "kilted", "lyrical")


def keys(manifest: Path) -> list[str]:
    """What a package.xml depends on, in its order."""
    root = ET.parse(manifest).getroot()  # noqa: S314  # our own file
    return [element.text or "" for element in root if element.tag.endswith("depend")]


def known(rosdistro: Path, distribution: str) -> set[str]:
    """Every key that rosdep resolves for a distribution: system packages, Python packages and ROS packages."""
    found: set[str] = set()
    for name in ("base", "python"):
        found |= set(yaml.safe_load((rosdistro / "rosdep" / f"{name}.yaml").read_text(encoding="utf-8")))
    listed = yaml.safe_load((rosdistro / distribution / "distribution.yaml").read_text(encoding="utf-8"))
    for name, repository in listed["repositories"].items():
        found |= set(repository.get("release", {}).get("packages", [name]))
    return found


def main(arguments: list[str]) -> int:
    """Prints a line for each key that is not known; 0 where all are."""
    rosdistro, distributions = Path(arguments[0]), arguments[1:] or SERVED
    wanted = keys(Path(__file__).resolve().parents[1] / "package.xml")
    missing = [(name, key) for name in distributions for key in sorted(set(wanted) - known(rosdistro, name))]
    for name, key in missing:
        print(f"{name}: rosdep has no key {key}")
    print(f"{len(set(wanted))} keys, {len(distributions)} distributions, {len(missing)} unknown")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
