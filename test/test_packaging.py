"""What a robot builds, what `pip install .` takes and what `make env` links is the same package with the same needs."""

from __future__ import annotations

import ast
import itertools
import json
import re
import runpy
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path
from shutil import copy, copytree, ignore_patterns
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import alstm_ros
from alstm_ros.dependencies import PIP as PIP_WORDS

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "alstm_ros"
SITE = Path(sysconfig.get_path("purelib"))
REQUIREMENTS = ROOT / "dev" / "requirements"
ROSDEP = {
    "cv2": "python3-opencv",
    "filelock": "python3-filelock",
    "joblib": "python3-joblib",
    "numpy": "python3-numpy",
    "onnxruntime": "python3-onnxruntime-pip",
    "platformdirs": "python3-platformdirs",
    "rosbags": "python3-rosbags-pip",
    "scipy": "python3-scipy",
    "tqdm": "python3-tqdm",
    "yaml": "python3-yaml",
}
"""Import name to rosdep key, where the two differ and a key exists."""
PIP = {"cv2": "opencv-python-headless", "yaml": "pyyaml"}
"""Import name to name on PyPI, where the two differ."""
OPTIONAL = {
    "cuda": "cuda-python, which comes with the GPU's driver",
    "distributed": "only for --dask",
    "foxglove_msgs": "only for ~/annotations, which is there where the package is",
    "tensorrt": "comes with the GPU's driver",
    "tensorrt_rtx": "comes with the GPU's driver",
    "trackeval": "installed by the command that `alstm evaluate` names, without its second OpenCV",
}
"""What may be imported and is in no list, and why."""


@pytest.fixture(scope="module")
def manifest() -> ET.Element:
    return ET.parse(ROOT / "package.xml").getroot()  # noqa: S314  # our own file


@pytest.fixture(scope="module")
def setup_arguments() -> dict[str, Any]:
    """What setup.py hands to setuptools."""
    given: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("setuptools.setup", given.update)
        patch.chdir(ROOT)
        runpy.run_path(str(ROOT / "setup.py"))
    return given


def needs(name: str) -> list[str]:
    lines = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return sorted(line for line in lines if line and not line.startswith("#"))


def files(folder: Path) -> dict[str, bytes]:
    """Relative name to content of the files that belong to the package."""
    found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def third_party() -> dict[str, str]:
    """Top-level name of each import of another project, and a file that imports it."""
    found: dict[str, str] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for top in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"alstm_ros"}:
                found.setdefault(top, path.relative_to(ROOT).as_posix())
    return found


def python(code: str, folder: Path, *flags: str) -> str:
    done = subprocess.run([sys.executable, *flags, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_versions_agree(manifest: ET.Element, setup_arguments: dict[str, Any]) -> None:
    versions = {manifest.findtext("version"), setup_arguments["version"], alstm_ros.__version__}
    assert versions == {alstm_ros.__version__}


def test_names_and_licence_agree(manifest: ET.Element, setup_arguments: dict[str, Any]) -> None:
    project = re.search(r"^project\((\w+)\)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"), re.MULTILINE)
    assert project is not None
    assert {manifest.findtext("name"), setup_arguments["name"], project[1]} == {"alstm_ros"}
    assert manifest.findtext("license") == setup_arguments["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_setup_and_environment_need_the_same(setup_arguments: dict[str, Any]) -> None:
    assert sorted(setup_arguments["install_requires"]) == sorted([*needs("run"), *needs("bags")])


def test_what_a_command_says_to_install_is_what_setup_asks_for(setup_arguments: dict[str, Any]) -> None:
    asked = [*setup_arguments["install_requires"], *itertools.chain(*setup_arguments["extras_require"].values())]
    for module, words in PIP_WORDS.items():
        assert words in {f"'{need}'" for need in asked} or module in {"distributed", "trackeval"}, words
    lines = [line.partition(";")[0] for name in ("test", "test-no-deps") for line in needs(name)]
    assert PIP_WORDS["distributed"].strip("'") in lines
    assert PIP_WORDS["trackeval"].removeprefix("--no-deps ") in lines
    third = {name for name, where in third_party().items() if "/ros/" not in where and "/engines/" not in where}
    assert third - set(ROSDEP) - {"numpy", "scipy"} <= set(PIP_WORDS), "a command would not say how to install these"


def test_one_opencv(setup_arguments: dict[str, Any]) -> None:
    asked = [*setup_arguments["install_requires"], *itertools.chain(*setup_arguments["extras_require"].values())]
    assert [need for need in asked if "opencv" in need] == ["opencv-python-headless>=4.5,<5"]
    assert not [need for need in asked if need.startswith("trackeval")], "it would bring another OpenCV"


def test_colcon_tests_need_no_more_than_their_keys() -> None:
    """Each imports NumPy, SciPy, OpenCV, PyYAML, pytest and Hypothesis at most; conftest.py too."""
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    listed = re.search(r"foreach\(test ([^)]+)\)", text)
    assert listed is not None
    names = listed[1].split()
    assert len(names) > 10
    allowed = {"alstm_ros", "cv2", "hypothesis", "numpy", "pytest", "scipy", "yaml", *sys.stdlib_module_names}
    waiting, seen = [ROOT / "test" / f"test_{name}.py" for name in names], set[Path]()
    while waiting:
        path = waiting.pop()
        seen.add(path)
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for top in {name.partition(".")[0] for name in found}:
                ours = ROOT / "test" / f"{top}.py"
                assert ours.is_file() or top in allowed, f"{path.name} imports {top}"
                waiting += [ours] if ours.is_file() and ours not in seen else []


def test_imports_are_declared(manifest: ET.Element, setup_arguments: dict[str, Any]) -> None:
    ros = {element.text for kind in ("depend", "exec_depend") for element in manifest.iter(kind)}
    extras = [need for extra in setup_arguments["extras_require"].values() for need in extra]
    pip = {re.split(r"[<>=]", need)[0] for need in [*setup_arguments["install_requires"], *extras]}
    for name, where in third_party().items():
        on_robot = ROSDEP.get(name, name) in ros
        from_pip = PIP.get(name, name) in pip
        assert on_robot or from_pip or name in OPTIONAL, f"{where} imports {name}, which is declared nowhere"
        assert "/ros/" not in where or on_robot or name in OPTIONAL, (
            f"{where} imports {name}, which package.xml does not name"
        )
        assert name not in ROSDEP or (on_robot and from_pip), f"{name} is missing from package.xml or from setup.py"


def test_keys_are_looked_up_in_every_list(tmp_path: Path) -> None:
    """dev/check_rosdep.py, on lists that lack one key each."""
    import check_rosdep

    wanted = sorted(set(check_rosdep.keys(ROOT / "package.xml")))
    lists = {
        "rosdep/base.yaml": {},
        "rosdep/python.yaml": {key: {} for key in wanted if key.startswith("python3-")},
        "new/distribution.yaml": {"repositories": {"all": {"release": {"packages": wanted}}, "rclpy": {}}},
    }
    for name, content in lists.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    assert check_rosdep.main([str(tmp_path), "new"]) == 0
    few = {"repositories": {"some": {"release": {"packages": [key for key in wanted if key != "rclpy"]}}}}
    (tmp_path / "new/distribution.yaml").write_text(json.dumps(few), encoding="utf-8")
    assert check_rosdep.main([str(tmp_path), "new"]) == 1


def test_interface_dependencies_are_found_and_declared(manifest: ET.Element) -> None:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    declared = {element.text for kind in ("depend", "buildtool_depend") for element in manifest.iter(kind)}
    assert set(re.findall(r"^find_package\((\w+)", text, re.MULTILINE)) - {"Python3"} == declared
    used = {
        found
        for path in (ROOT / "msg").glob("*.msg")
        for found in re.findall(r"^(\w+)/\w+", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert used <= declared


def test_every_message_is_generated() -> None:
    messages = pytest.importorskip("alstm_ros.msg", reason="needs a ROS environment, see `make env`")
    names = {path.stem for path in (ROOT / "msg").glob("*.msg")}
    assert names
    assert names <= set(dir(messages))
    assert (messages.Track.TENTATIVE, messages.Track.CONFIRMED, messages.Track.LOST) == (0, 1, 2)
    event = messages.TrackEvent
    assert (event.BORN, event.LOST, event.RECOVERED, event.ENDED) == (0, 1, 2, 3)


@pytest.mark.parametrize("at_root", [True, False])
def test_checkout_is_imported_from_every_folder(tmp_path: Path, *, at_root: bool) -> None:
    code = "import alstm_ros.boxes, alstm_ros.msg; print(alstm_ros.boxes.__file__, alstm_ros.msg.Track.__name__)"
    assert python(code, ROOT if at_root else tmp_path) == f"{PACKAGE / 'boxes.py'} Track"


def test_installed_package_is_whole(tmp_path: Path) -> None:
    """Without the environment's finder, that is as on a robot: hand-written and generated modules in one folder."""
    installed = files(SITE / "alstm_ros")
    differing = {name for name, content in files(PACKAGE).items() if installed.get(name) != content}
    assert not differing, "`make build` installs them"
    left = [path.name for path in (SITE / "alstm_ros").rglob("*") if path.is_symlink() and not path.exists()]
    assert not left, "links to files that were removed"
    code = f"import sys; sys.path.insert(0, {str(SITE)!r}); import alstm_ros, alstm_ros.boxes, alstm_ros.msg as m"
    shown = python(f"{code}; print(alstm_ros.__file__, m.TrackArray().tracks)", tmp_path, "-S")
    assert shown == f"{SITE / 'alstm_ros' / '__init__.py'} []"


@pytest.mark.parametrize("folder", ["config", "launch"])
def test_installed_share_is_whole(folder: str) -> None:
    expected = files(ROOT / folder)
    assert expected, f"{folder}/ is empty"
    assert files(Path(sys.prefix) / "share" / "alstm_ros" / folder) == expected


@pytest.mark.parametrize("command", ["bin/alstm", "lib/alstm_ros/alstm"])
def test_command_runs(command: str, tmp_path: Path) -> None:
    call = [str(Path(sys.prefix) / command), "--help"]
    done = subprocess.run(call, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "track" in done.stdout


def test_node_is_where_ros2_run_looks() -> None:
    node = Path(sys.prefix) / "lib" / "alstm_ros" / "alstm_node"
    assert node.stat().st_mode & 0o111
    assert "alstm_ros.ros" in node.read_text(encoding="utf-8")


def test_wheel_holds_the_package(tmp_path: Path) -> None:
    source = tmp_path / "source"
    copytree(PACKAGE, source / "alstm_ros", ignore=ignore_patterns("__pycache__"))
    copytree(ROOT / "config", source / "config")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        copy(ROOT / name, source)
    call = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", str(tmp_path), "."]
    done = subprocess.run([sys.executable, *call], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "wheel")
    held = files(tmp_path / "wheel" / "alstm_ros")
    recipes = {f"recipes/{name}": content for name, content in files(source / "config").items()}
    assert held == files(source / "alstm_ros") | recipes
    (points,) = (tmp_path / "wheel").glob("*.dist-info/entry_points.txt")
    assert "alstm = alstm_ros.cli:main" in points.read_text(encoding="utf-8")
