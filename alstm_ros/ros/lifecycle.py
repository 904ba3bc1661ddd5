"""What rclpy's lifecycle leaves out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode

Callback = Callable[[Any, Any], Any]


def refuse_impossible_transitions(node: LifecycleNode) -> None:
    """Answers a transition that the present state does not have with `success: false`.

    rclpy raises instead, through the executor, and a node that is asked to activate twice dies (seen with 7.1.6).
    """
    service = next(s for s in node.services if s.srv_type is ChangeState)
    change = service.callback

    def answer(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
        try:
            return change(request, response)
        except rclpy_implementation.RCLError as error:
            asked = request.transition.label or request.transition.id
            node.get_logger().warning(f"The transition {asked!r} is refused: {error}")
            response.success = False
            return response

    service.callback = answer
