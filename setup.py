from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def version() -> str:
    """Reads the version where the code has it, without importing the package."""
    text = (ROOT / "alstm_ros" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r'^__version__ = "(.+)"$', text, re.MULTILINE)
    if found is None:
        raise RuntimeError("alstm_ros/__init__.py has no line '__version__ = \"...\"'")
    return found[1]


# `pip install .` serves the parts that need no ROS; a robot builds the same folder with colcon, see package.xml.
setup(
    name="alstm_ros",
    version=version(),
    description="Boxes with ids that last: detection and association for ROS 2 camera topics",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.10",
    # config/ goes into the package as its recipes, so that `alstm train train.yaml` finds them from every folder.
    package_dir={"alstm_ros.recipes": "config"},
    packages=[
        *find_packages(include=["alstm_ros", "alstm_ros.*"], exclude=["alstm_ros.msg", "alstm_ros.msg.*"]),
        "alstm_ros.recipes",
    ],
    package_data={
        "alstm_ros": ["models/*", "recordings/interfaces/*/*.msg"],
        "alstm_ros.recipes": ["*"],
    },
    # All that `alstm track` needs, for every kind of recording.
    install_requires=[
        "av>=14.2,<19",
        "filelock>=3.6,<5",
        "joblib>=1.3,<2",
        "mcap>=1.2,<2",
        "numpy>=1.21,<3",
        "onnx>=1.14,<2",
        "onnxruntime>=1.16,<2",
        "opencv-python-headless>=4.5,<5",
        "platformdirs>=2.5,<5",
        "pyyaml>=5.4,<7",
        "rosbags>=0.10,<0.12",
        "scipy>=1.8,<2",
        "tqdm>=4.57,<5",
        "zstandard>=0.22,<1",
    ],
    extras_require={
        # With TrackEval's needs and not itself: its own list names opencv-python, a second OpenCV whose files lie on
        # those of opencv-python-headless. `alstm evaluate` names the command that installs it, see dependencies.py.
        "evaluation": ["optuna>=4,<5", "pycocotools>=2.0.6,<3", "tabulate>=0.8,<1"],
        "learning": ["tensorboard>=2.17,<3", "torch>=2.1"],
    },
    entry_points={"console_scripts": ["alstm = alstm_ros.cli:main"]},
)
