"""Whether another node of this name runs: two would answer each image twice, with ids that mean different objects."""

from __future__ import annotations

import hashlib
import os
import socket
import sys

from rclpy.node import Node

MACHINE = 4
"""How many bytes of an endpoint's id say which machine it is on, with Fast DDS (RTPS 2.2, 9.3.1.5: vendor and host)."""


class NodeName:
    """A claim to the node's full name.

    On one machine an abstract socket holds it, as long as the process lives. So two that start at once cannot both have
    it, and one that was killed leaves nothing behind, though discovery tells of it for some twenty seconds more.
    """

    def __init__(self, node: Node) -> None:
        """Claims nothing yet.

        Args:
            node: whose name it is.
        """
        self._node = node
        self._socket: socket.socket | None = None

    def take(self) -> str:
        """Claims the name, where it is not claimed; returns a sentence where another node has it, else nothing."""
        name = self._node.get_fully_qualified_name()
        if not self._hold(name):
            return f"Another node on this machine is called {name}, and runs; give this one another name or namespace."
        if self._elsewhere():
            self.release()
            return f"Another machine runs a node that is called {name}, too; give this one another name or namespace."
        return ""

    def release(self) -> None:
        """Gives the name free."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _hold(self, name: str) -> bool:
        if self._socket is not None or sys.platform != "linux":  # elsewhere there are no abstract sockets
            return True
        domain = os.environ.get("ROS_DOMAIN_ID", "0")
        digest = hashlib.sha256(f"{domain} {name}".encode()).hexdigest()[:32]
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0alstm_ros_node_{digest}")
        except OSError:
            holder.close()
            return False
        self._socket = holder
        return True

    def _elsewhere(self) -> bool:
        """Whether discovery knows a node of this name on another machine.

        One on this machine that does not hold the name is no more.
        """
        name, namespace = self._node.get_name(), self._node.get_namespace()
        found = self._node.get_publishers_info_by_topic("/diagnostics")
        same = [info for info in found if (info.node_name, info.node_namespace) == (name, namespace)]
        return len({bytes(info.endpoint_gid)[:MACHINE] for info in same}) > 1
