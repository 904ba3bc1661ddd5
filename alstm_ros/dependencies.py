"""Python packages that some commands need beyond the base, and the command that installs each."""

from __future__ import annotations

PIP = {
    "av": "'av>=14.2,<19'",
    "distributed": "'distributed>=2024.8'",
    "filelock": "'filelock>=3.6,<5'",
    "joblib": "'joblib>=1.3,<2'",
    "mcap": "'mcap>=1.2,<2'",
    "onnx": "'onnx>=1.14,<2'",
    "onnxruntime": "'onnxruntime>=1.16,<2'",
    "optuna": "'optuna>=4,<5'",
    "platformdirs": "'platformdirs>=2.5,<5'",
    "pycocotools": "'pycocotools>=2.0.6,<3'",
    "rosbags": "'rosbags>=0.10,<0.12'",
    "tabulate": "'tabulate>=0.8,<1'",
    "tensorboard": "'tensorboard>=2.17,<3'",
    "torch": "'torch>=2.1'",
    # its own list of needs names opencv-python, whose files would lie on those of the OpenCV that is installed
    "trackeval": "--no-deps trackeval==1.3.0",
    "zstandard": "'zstandard>=0.22,<1'",
}
"""Name of an importable module to what `pip install` is given for it."""


def how_to_install(module: str) -> str:
    """The command that installs a module, as a user types it.

    Args:
        module: a name that Python could not import; of `a.b`, `a` counts.
    """
    top = module.partition(".")[0]
    return f"python3 -m pip install {PIP.get(top, top)}"
