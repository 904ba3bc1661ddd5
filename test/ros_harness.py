"""A participant of the tests' own, for tests over real middleware; nothing sleeps to be in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("rclpy", reason="ROS is not installed")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from ros_messages import stamp_message, values
from ros_process import PATIENCE
from sensor_msgs.msg import Image as ImageMessage
from vision_msgs.msg import Detection2DArray

if TYPE_CHECKING:
    from typing_extensions import Self

ASK_AGAIN = 10.0  # s
GOALS = {
    "configure": "inactive",
    "activate": "active",
    "deactivate": "inactive",
    "cleanup": "unconfigured",
    "active_shutdown": "finalized",
}


class Ros:
    """The tests' own participant."""

    def __init__(self, number: int) -> None:
        self._context = Context()
        rclpy.init(context=self._context, domain_id=number)
        self.node = Node("tester", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._stamp = 1_000_000_000_000
        self.statuses: dict[str, DiagnosticStatus] = {}
        self._clients: dict[str, Any] = {}
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._diagnosed, 100)

    def close(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self._context)

    def until(self, condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
        """Spins until the condition holds; returns what it gave.

        Args:
            condition: looked at after each callback, and every 50 ms.
            what: is waited for, for the failure's text.
            patience: seconds.
        """
        end = time.monotonic() + patience
        while not (result := condition()):
            if time.monotonic() > end:
                pytest.fail(f"waited {patience:.0f} s in vain for {what}")
            self.spin_once(0.05)
        return result

    def spin_once(self, seconds: float) -> None:
        """Waits for one callback, so long at the most."""
        self._executor.spin_once(timeout_sec=seconds)

    def spin(self, seconds: float) -> None:
        """Spins for a while: to show that something does not happen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.spin_once(0.02)

    def collect(self, kind: type, topic: str, qos: QoSProfile | int = 100) -> list[Any]:
        """Subscribes; the list fills as messages come."""
        found: list[Any] = []
        self.node.create_subscription(kind, topic, found.append, qos)
        return found

    def call(self, kind: Any, name: str, **fields: Any) -> Any:
        """Calls a service, which must bear being asked twice; returns its response.

        A service is ready for its client before the client is known to the service, and what it answers until then is
        lost, which happens on a busy machine: so it is asked again, and by the client that it knows.
        """
        if name not in self._clients:
            self._clients[name] = self.node.create_client(kind, name)
        client = self._clients[name]
        self.until(client.service_is_ready, f"service {name}")
        asked: list[tuple[float, Any]] = []

        def answer() -> Any:
            if not asked or time.monotonic() > asked[-1][0] + ASK_AGAIN:
                asked.append((time.monotonic(), client.call_async(kind.Request(**fields))))
            return next((future for _, future in asked if future.done()), None)

        return self.until(answer, f"an answer of {name}").result()

    def set(self, node: str, **values: Any) -> tuple[bool, str]:
        """Sets parameters at once, `__` for dots; returns whether that succeeded, and the reason if not."""
        from rcl_interfaces.srv import SetParametersAtomically

        parameters = [
            Parameter(key.replace("__", "."), value=value).to_parameter_msg() for key, value in values.items()
        ]
        response = self.call(SetParametersAtomically, f"/{node}/set_parameters_atomically", parameters=parameters)
        return response.result.successful, response.result.reason

    def get(self, node: str, name: str) -> Any:
        """A parameter's value."""
        from rcl_interfaces.srv import GetParameters
        from rclpy.parameter import parameter_value_to_python

        return parameter_value_to_python(self.call(GetParameters, f"/{node}/get_parameters", names=[name]).values[0])

    def change_state(self, node: str, label: str) -> bool:
        """Asks for a lifecycle transition; returns whether it succeeded."""
        from lifecycle_msgs.msg import Transition
        from lifecycle_msgs.srv import ChangeState

        asked = Transition(id=getattr(Transition, f"TRANSITION_{label.upper()}"))
        before, goal = self.state(node), GOALS.get(label)
        response = self.call(ChangeState, f"/{node}/change_state", transition=asked)
        # Where the first answer was lost, the second says that there is no way from a state to itself.
        return bool(response.success) or (before != goal == self.state(node))

    def state(self, node: str) -> str:
        """The lifecycle state's label."""
        from lifecycle_msgs.srv import GetState

        return str(self.call(GetState, f"/{node}/get_state").current_state.label)

    def status(
        self, condition: Callable[[DiagnosticStatus], Any], what: str, name: str = "alstm: image"
    ) -> DiagnosticStatus:
        """Waits for a diagnostic status, told after this call, for which the condition holds; returns it."""
        self.statuses.clear()

        def fitting() -> DiagnosticStatus | None:
            status = self.statuses.get(name)
            return status if status is not None and condition(status) else None

        try:
            self.until(fitting, f"the status '{name}' with {what}")
        except pytest.fail.Exception as failure:
            failure.msg = f"{failure.msg}; it is {self.statuses.get(name)}"
            raise
        return self.statuses[name]

    def value(self, key: str, name: str = "alstm: image") -> str:
        """A value of a diagnostic status, told after this call."""
        return str(values(self.status(lambda _: True, key, name))[key])

    def _diagnosed(self, array: DiagnosticArray) -> None:
        self.statuses |= {status.name: status for status in array.status}

    def next_stamp(self, period_ns: int = 33_000_000) -> int:
        """A stamp after all those before."""
        self._stamp += period_ns
        return self._stamp


class Camera:
    """Publishes images, and waits for what the node makes of each."""

    def __init__(
        self,
        ros: Ros,
        topic: str = "/image",
        kind: type = ImageMessage,
        *,
        reliable: bool = True,
        transient: bool = False,
        results: str = "/alstm/detections",
    ) -> None:
        qos = QoSProfile(
            depth=1,
            reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if transient else DurabilityPolicy.VOLATILE,
        )
        self._ros = ros
        self._publisher = ros.node.create_publisher(kind, topic, qos)
        self._answers: list[Detection2DArray] = []
        self._subscription = ros.node.create_subscription(Detection2DArray, results, self._answers.append, 100)

    def close(self) -> None:
        """Ends the publisher."""
        self._ros.node.destroy_publisher(self._publisher)
        self._ros.node.destroy_subscription(self._subscription)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def publish(self, message: Any) -> None:
        """Publishes, whoever listens."""
        self._publisher.publish(message)

    def ask(self, message: Any, patience: float = 0.5) -> Detection2DArray:
        """Publishes until the node answers with this message's stamp; returns the answer.

        It is published again, after `patience` s, only where it was lost, as while the node changes its subscription.
        """
        self._answers.clear()

        def answer() -> Detection2DArray | None:
            return next((one for one in self._answers if one.header.stamp == message.header.stamp), None)

        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self._publisher.publish(message)
            again = time.monotonic() + patience
            while time.monotonic() < again:
                self._ros.spin_once(0.02)
                if found := answer():
                    return found
        pytest.fail(f"the node did not answer within {PATIENCE:.0f} s")

    def settle(self, message: Any) -> None:
        """Publishes until the node follows this publisher alone, and nothing that was published twice is under way.

        The node subscribes as it guesses, and again as it finds the publisher; in between images are lost. Afterwards
        each image that a reliable camera publishes once is answered once.

        Args:
            message: any that the node answers; its stamp is set.
        """
        self.ask(message)
        self._ros.until(self._followed, "a subscription with the publisher's own QoS")
        self.ask(message)
        message.header.stamp = stamp_message(self._ros.next_stamp())
        self.ask(message, patience=PATIENCE)

    def _followed(self) -> bool:
        offered = self._publisher.qos_profile
        found = self._ros.node.get_subscriptions_info_by_topic(self._publisher.topic_name)
        asked = {(one.qos_profile.reliability, one.qos_profile.durability) for one in found}
        return asked == {(offered.reliability, offered.durability)}  # another node may look at the images, too
