"""Which part of the package may import which, walked over the syntax trees, so that ARCHITECTURE.md stays true."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "alstm_ros"
BASE = {"__init__", "errors", "types", "options"}
DATA = BASE | {
    "dependencies",
    "boxes",
    "images",
    "config",
    "parameter_text",
    "drawing",
    "rows",
    "onnx_graph",
    "annotations",
    "stamp_buffer",
}
CORE = DATA | {"engines", "detection", "association", "pipeline", "camera_motion"}
MAY_IMPORT = {
    "__init__": set(),
    "errors": set(),
    "types": {"errors"},
    "options": {"errors"},
    "dependencies": set(),
    "boxes": BASE,
    "images": BASE | {"picture_files"},
    "picture_files": BASE,
    "config": BASE,
    "parameter_text": BASE | {"config"},
    "drawing": BASE | {"boxes"},
    "rows": BASE,
    "stamp_buffer": BASE,
    "annotations": BASE | {"drawing"},
    "onnx_graph": set(),
    "camera_motion": BASE,
    "reference": BASE | {"config"},
    "engines": DATA,
    "detection": DATA | {"engines"},
    "association": DATA | {"engines"},
    "pipeline": DATA | {"engines", "detection", "association", "camera_motion"},
    "ros": DATA | {"engines", "detection", "association", "pipeline"},
    "recordings": CORE,
    "evaluation": CORE | {"recordings"},
    "learning": CORE | {"recordings", "evaluation"},
    "commands": CORE | {"recordings", "evaluation", "learning"},
    "cli": {"dependencies", "errors"},
    "__main__": {"cli"},
}
HOMES = {"torch": "learning", "rclpy": "ros"} | dict.fromkeys(("onnxruntime", "tensorrt", "tensorrt_rtx"), "engines")


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively; write the whole name"
            yield node.module or ""
            if node.module == "alstm_ros":
                yield from (f"alstm_ros.{alias.name}" for alias in node.names)


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    here = part(path)
    for name in imports(path):
        top, _, rest = name.partition(".")
        if top == "alstm_ros" and rest:
            wanted = rest.partition(".")[0]
            generated = wanted == "msg" and here == "ros"
            inner = (PACKAGE / wanted).is_dir() or (PACKAGE / f"{wanted}.py").is_file()
            if inner:
                assert generated or wanted == here or wanted in MAY_IMPORT[here], f"{here} must not import {wanted}"
        home = HOMES.get(top, "ros" if top.endswith(("_msgs", "_srvs")) else here)
        assert home == here, f"{top} belongs to {home}/, not to {path.name}"


def test_no_circle_of_imports() -> None:
    modules = {}
    for path in PACKAGE.rglob("*.py"):
        name = ".".join(["alstm_ros", *path.relative_to(PACKAGE).with_suffix("").parts])
        modules[name.removesuffix(".__init__")] = path
    needs = {name: {other for other in imports(path) if other in modules} - {name} for name, path in modules.items()}
    # What `from package import module` names is the module, not the package's face, unless a face is all that there is.
    for name, others in needs.items():
        inner = {other for other in others if any(more.startswith(f"{other}.") for more in others)}
        needs[name] = others - inner
    TopologicalSorter(needs).prepare()  # raises CycleError, which names the modules of the circle


SAME_EVERYWHERE = {
    "add_arguments": "what each command's module offers, see cli.py",
    "run": "likewise, and what carries out a run",
    "main": "where a program begins",
}
"""Names that may stand in several modules, and why: they mean the same thing in each."""


def test_a_public_name_means_one_thing() -> None:
    """Classes and functions of modules; methods belong to their class."""
    places: dict[str, list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(str(path.relative_to(PACKAGE)))
    twice = {name: where for name, where in places.items() if len(where) > 1}
    assert set(twice) == set(SAME_EVERYWHERE), twice
