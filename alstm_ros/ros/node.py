"""The lifecycle node: glue between parameters, subscriptions, the worker and publishers."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from contextlib import ExitStack

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from alstm_ros.association.tracker import IdCounter
from alstm_ros.config import Config
from alstm_ros.detection import detections_from
from alstm_ros.engines.status import format_layers
from alstm_ros.errors import AlstmError, ConfigError
from alstm_ros.pipeline import Detector, Pipeline
from alstm_ros.ros import parameters
from alstm_ros.ros.diagnostics import ERROR, OK, WARN, status
from alstm_ros.ros.lifecycle import refuse_impossible_transitions
from alstm_ros.ros.node_name import NodeName
from alstm_ros.ros.runtime import Runtime
from alstm_ros.ros.transport import PROFILE_VARIABLES, VARIABLE

Load = Callable[[Config], Detector]
DONE, REFUSED = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
LOOK_PERIOD = 0.25  # s; discovery itself takes about as long
DIAGNOSTICS_PERIOD = 1.0  # s
FAILURE_PERIOD = 10.0  # s; a callback that fails each time is told of so often


class AlstmNode(LifecycleNode):
    """Images in, boxes with lasting ids out.

    Configure loads the model and makes the publishers, activate subscribes, deactivate frees the subscription, clean-up
    frees the rest. Ids go on over all of it.
    """

    def __init__(self, load_detector: Load = detections_from) -> None:
        """Declares the parameters.

        Args:
            load_detector: makes the detector from the config.

        Raises:
            ConfigError: a parameter given at start is refused.
        """
        self._runtime: Runtime | None = None  # before rclpy's part: Kilted destroys a node whose making fails
        self._name = NodeName(self)
        super().__init__("alstm")
        refuse_impossible_transitions(self)
        self._load = load_detector
        self._ids = IdCounter()
        self._config = parameters.declare(self)
        self._proposed = self._config  # while a set of parameters is checked, what it would make of it
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._enabled = True
        self._phase = "unconfigured"
        self._error = ""
        self._failures = 0
        self._namesake = ""  # a sentence, while another node has this one's name
        self._waiting = False
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetBool, "~/enable", self._on_enable)
        # Timers on a steady clock: with use_sim_time and no /clock yet, those on the node's clock would never fire.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(LOOK_PERIOD, self._look, clock=steady)
        self.create_timer(DIAGNOSTICS_PERIOD, self._diagnose, clock=steady)

    def start(self) -> None:
        """Configures and activates if `autostart` says so."""
        if self._config.autostart and self.trigger_configure() == DONE:
            self._waiting = self.trigger_activate() != DONE

    def report_failure(self, trace: str) -> None:
        """Tells of a callback that raised, in the log and in diagnostics.

        Args:
            trace: what `traceback` has to say.
        """
        self._failures += 1
        self.get_logger().error(f"A callback failed, the others go on: {trace}", throttle_duration_sec=FAILURE_PERIOD)

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model and makes publishers; a sentence in the log says why where it cannot."""
        del state
        try:
            detector = self._load(self._config)
            with ExitStack() as undo:
                undo.callback(detector.close)
                self._runtime = Runtime(self, self._config, Pipeline(self._config, detector, self._ids, live=True))
                undo.pop_all()
        except AlstmError as error:
            return self._refuse(str(error))
        except Exception:  # noqa: BLE001  # rclpy swallows it without a word
            return self._refuse(traceback.format_exc())
        self._error, self._phase = "", "inactive"
        classes = ", ".join(detector.classes) or "those that the detections name"
        self.get_logger().info(f"Configured; classes: {classes}.")
        return DONE

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribes, unless switched off by `~/enable`. Refused while another node has this one's name."""
        del state
        if not self._has_name():
            return REFUSED
        self._waiting, self._phase = False, "active"
        if self._runtime and self._enabled:
            self._runtime.start()
        return DONE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees the subscriptions; what is in work is still published before this returns."""
        del state
        self._phase, self._waiting = "inactive", False
        if self._runtime:
            self._runtime.stop()
        self._name.release()
        return DONE

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees model and publishers."""
        del state
        self._phase = "unconfigured"
        self._free()
        return DONE

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees everything."""
        del state
        self._phase = "finalized"
        self._free()
        return DONE

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees everything; the node is unconfigured afterwards. rclpy keeps the exception to itself."""
        self.get_logger().error(f"The transition from {state.label} failed; the node is unconfigured now.")
        return self.on_cleanup(state)

    def destroy_node(self) -> None:
        """Ends the worker first, since it publishes."""
        self._free()
        super().destroy_node()

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Sets all or none.

        Wrong values are refused with our sentences, which name what is allowed, before rclpy does with its own. What is
        set acts only when nobody refused: rclpy asks others, such as its clock, after this node.
        """
        try:
            checked = parameters.typed(self, parameter_list)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._proposed = self._config
        result = super().set_parameters_atomically(checked)
        if result.successful and self._proposed != self._config:
            if self._runtime:
                self._runtime.configure(self._proposed)
            self._config = self._proposed
        return result

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        """Checks a set of changes; nothing of it is in force yet."""
        try:
            config = parameters.changed_config(self._config, changes, structure=self._runtime is None)
            if self._runtime:
                self._runtime.check(config)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._proposed = config
        return SetParametersResult(successful=True)

    def _on_reset(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        del request
        response.success = self._runtime is not None
        response.message = "Every track has ended; ids go on." if self._runtime else "The node is not configured."
        if self._runtime:
            self._runtime.reset()
        return response

    def _on_enable(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if self._runtime and self._phase == "active" and request.data != self._enabled:
            (self._runtime.start if request.data else self._runtime.stop)()
        self._enabled = request.data
        response.success = True
        response.message = f"Processing is {'on' if self._enabled else 'off'}; the node is {self._phase}."
        return response

    def _has_name(self) -> bool:
        """Claims the node's name; says once why it cannot be had."""
        namesake = self._name.take()
        if namesake and namesake != self._namesake:
            self.get_logger().error(f"The node is not activated. {namesake}")
        self._namesake = namesake
        return not namesake

    def _look(self) -> None:
        if self._waiting and self._has_name():
            self.get_logger().info("The other node of this name has ended; this one is activated.")
            self.trigger_activate()
        if self._runtime:
            self._runtime.look()

    def _diagnose(self) -> None:
        array = DiagnosticArray(status=[self._status()])
        array.header.stamp = self.get_clock().now().to_msg()
        if self._runtime:
            array.status.extend(self._runtime.statuses())
        self._diagnostics.publish(array)

    def _status(self) -> DiagnosticStatus:
        """The node's own state, beside those of its cameras."""
        error = self._error or self._namesake
        level = ERROR if error else WARN if self._failures else OK
        message = error or f"The node is {self._phase}{'' if self._enabled else ' and switched off by ~/enable'}."
        values: dict[str, object] = {
            "state": self._phase,
            "enabled": self._enabled,
            "model": self._config.detector.model,
            "threads": self._config.engine.threads,
            "failed callbacks": self._failures,
            **{name: os.environ.get(name, "not set") for name in (VARIABLE, *PROFILE_VARIABLES)},
        }
        if self._runtime:
            engine = self._runtime.engine
            level = WARN if engine.degraded else level
            message = f"{message} {engine.message}".rstrip()
            values |= {"runtime": engine.runtime, "precision": engine.precision, "batch": self._runtime.batch}
            if engine.layers:
                values["layers"] = format_layers(engine.layers)
            if engine.progress is not None:
                values["engine built"] = f"{engine.progress:.0%}"
        return status(level, self.get_fully_qualified_name().lstrip("/"), message, values)

    def _refuse(self, sentence: str) -> TransitionCallbackReturn:
        self._error = sentence
        self.get_logger().error(f"The node cannot be configured: {sentence}")
        self._free()
        return REFUSED

    def _free(self) -> None:
        if self._runtime:
            self._runtime.close()
        self._runtime = None
        self._name.release()
