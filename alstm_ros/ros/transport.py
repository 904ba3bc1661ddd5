"""What Fast DDS needs to carry large images."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from rclpy.utilities import get_rmw_implementation_identifier

VARIABLE = "FASTDDS_BUILTIN_TRANSPORTS"
"""Names Fast DDS's transports and their sizes, where ROS leaves Fast DDS's own transports in place."""
PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Name a file of Fast DDS's profiles: the first up to Jazzy, the second from Kilted on."""
RANGE_VARIABLES = ("ROS_LOCALHOST_ONLY", "ROS_AUTOMATIC_DISCOVERY_RANGE")
"""Say how far discovery reaches: the first up to Jazzy, the second from Iron on."""
MEGABYTES = 16
"""How large Fast DDS's shared memory is made, in MB; by default it holds 0.5 MB. Two images of a camera must fit in."""
SETTING = f"DEFAULT?sockets_size={MEGABYTES}MB"
"""The default transports, with shared memory into which whole images fit.

Only the process that sends images needs it. `LARGE_DATA` (shared memory and TCP) serves two machines, but a process
that has it and one that has not do not even discover each other.
"""
_PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<!-- Shared memory of {megabytes} MB for Fast DDS, beside the transports that ROS or Fast DDS choose. -->
<dds xmlns="http://www.eprosima.com">
  <profiles>
    <transport_descriptors>
      <transport_descriptor>
        <transport_id>images</transport_id>
        <type>SHM</type>
        <segment_size>{bytes}</segment_size>
      </transport_descriptor>
    </transport_descriptors>
    <participant profile_name="images" is_default_profile="true">
      <rtps>
        <userTransports>
          <transport_id>images</transport_id>
        </userTransports>
      </rtps>
    </participant>
  </profiles>
</dds>
"""


def stays_on_this_machine(environment: Mapping[str, str]) -> bool:
    """Whether discovery is limited to this machine.

    Then rmw_fastrtps puts transports of its own in the place of Fast DDS's (`use_builtin_transports = false` in its
    participant.cpp), and `FASTDDS_BUILTIN_TRANSPORTS`, which sizes those, has no effect. Transports of a profile stay
    beside its own.
    """
    localhost_only, discovery_range = (environment.get(name, "") for name in RANGE_VARIABLES)
    return localhost_only == "1" or discovery_range.upper() == "LOCALHOST"


def write_profile(megabytes: int = MEGABYTES, folder: Path | None = None) -> Path:
    """Writes the profile that gives Fast DDS so much shared memory, and returns its path.

    Args:
        megabytes: size of the shared memory.
        folder: where to; `alstm_ros` in ROS's own folder ($ROS_HOME, ~/.ros) when None.

    Raises:
        OSError: the file cannot be written.
    """
    if folder is None:
        folder = Path(os.environ.get("ROS_HOME") or Path.home() / ".ros") / "alstm_ros"
    path, text = folder / f"fastdds_{megabytes}MB.xml", _PROFILE.format(megabytes=megabytes, bytes=megabytes << 20)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    return path


def remedy(environment: Mapping[str, str], megabytes: int = MEGABYTES) -> dict[str, str]:
    """What must be added to a process's environment, so that Fast DDS carries large images of its.

    Args:
        environment: the process's own, as far as it is known.
        megabytes: how much shared memory; see `MEGABYTES`.

    Returns:
        Variables; none where the environment says by itself what Fast DDS should do.

    Raises:
        OSError: the profile cannot be written.
    """
    if any(environment.get(name) for name in PROFILE_VARIABLES):
        return {}
    if stays_on_this_machine(environment):
        return dict.fromkeys(PROFILE_VARIABLES, str(write_profile(megabytes)))
    return {} if environment.get(VARIABLE) else {VARIABLE: f"DEFAULT?sockets_size={megabytes}MB"}


def main() -> int:
    """Prints what the camera's process needs in its environment, as a shell takes it; returns the exit code."""
    wanted = remedy({name: value for name, value in os.environ.items() if name in RANGE_VARIABLES})
    sys.stdout.writelines(f"export {name}='{value}'\n" for name, value in wanted.items())
    return 0


def large_data_hint() -> str:
    """A sentence for the user when images may be lost on the way; empty where the cause must be another.

    Fast DDS splits an image that does not fit into its shared memory into UDP fragments, and with best effort one lost
    fragment loses the image. What counts is the environment of the camera's process, of which this process knows its
    own: usually they are the same but for what the launch file adds.
    """
    if "fastrtps" not in get_rmw_implementation_identifier():
        return ""
    here = dict(os.environ)
    local = stays_on_this_machine(here)
    if "LARGE_DATA" in here.get(VARIABLE, "") and not local:
        return ""
    own = next((name for name in PROFILE_VARIABLES if here.get(name)), "")
    plain = {name: value for name, value in here.items() if name not in (VARIABLE, *PROFILE_VARIABLES)}
    try:
        wanted = remedy(plain)
    except OSError as error:
        return f"If images are lost on the way, let the camera publish reliably ({error})."
    setting = " ".join(f"{name}='{value}'" for name, value in wanted.items())
    if own and here[own] not in wanted.values():
        return f"If images are lost on the way, give Fast DDS more shared memory in {here[own]}, or publish reliably."
    given = all(here.get(name) == value for name, value in wanted.items())
    also = ", as this one is," if given else ""
    return (
        f"If images are lost on the way, start the camera's process{also} with {setting}, or let it publish reliably."
    )


if __name__ == "__main__":
    sys.exit(main())
