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
from alstm_ros.ros.runtime import Runtime
from alstm_ros.ros.transport import VARIABLE

Load = Callable[[Config], Detector]
DONE, REFUSED = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
LOOK_PERIOD = 0.25  # s; discovery itself takes about as long
DIAGNOSTICS_PERIOD = 1.0  # s


class AlstmNode(LifecycleNode):
    """Images in, boxes with lasting ids out.

    Configure loads the model and makes the publishers, activate subscribes, deactivate frees the subscription, clean-up
    frees the rest. Ids go on over all of it.
    """

    def __init__(self, load_detector: Load = detections_from) -> None:
        """Declares the parameters; configures and activates if `autostart` says so.

        Args:
            load_detector: makes the detector from the config.

        Raises:
            ConfigError: a parameter given at start is refused.
        """
        self._runtime: Runtime | None = None  # before rclpy's part: Kilted destroys a node whose making fails
        super().__init__("alstm")
        refuse_impossible_transitions(self)
        self._load = load_detector
        self._ids = IdCounter()
        self._config = parameters.declare(self)
        self.add_on_set_parameters_callback(self._on_set_parameters)
        self._enabled = True
        self._phase = "unconfigured"
        self._error = ""
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.create_service(Trigger, "~/reset", self._on_reset)
        self.create_service(SetBool, "~/enable", self._on_enable)
        # Timers on a steady clock: with use_sim_time and no /clock yet, those on the node's clock would never fire.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(LOOK_PERIOD, self._look, clock=steady)
        self.create_timer(DIAGNOSTICS_PERIOD, self._diagnose, clock=steady)
        if self._config.autostart and self.trigger_configure() == DONE:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model and makes publishers; a sentence in the log says why where it cannot."""
        del state
        try:
            detector = self._load(self._config)
            with ExitStack() as undo:
                undo.callback(detector.close)
                self._runtime = Runtime(self, self._config, Pipeline(self._config, detector, self._ids))
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
        """Subscribes, unless switched off by `~/enable`."""
        del state
        self._phase = "active"
        if self._runtime and self._enabled:
            self._runtime.start()
        return DONE

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees the subscriptions; what is in work is still published before this returns."""
        del state
        self._phase = "inactive"
        if self._runtime:
            self._runtime.stop()
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
        """Refuses wrong values with our sentences, which name what is allowed, before rclpy does with its own."""
        try:
            checked = parameters.typed(self, parameter_list)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return super().set_parameters_atomically(checked)

    def _on_set_parameters(self, changes: list[Parameter]) -> SetParametersResult:
        try:
            config = parameters.changed_config(self._config, changes, structure=self._runtime is None)
            if self._runtime and config != self._config:
                self._runtime.configure(config)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self._config = config
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

    def _look(self) -> None:
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
        level = ERROR if self._error else OK
        message = self._error or f"The node is {self._phase}{'' if self._enabled else ' and switched off by ~/enable'}."
        values: dict[str, object] = {
            "state": self._phase,
            "enabled": self._enabled,
            "model": self._config.detector.model,
            "threads": self._config.engine.threads,
            VARIABLE: os.environ.get(VARIABLE, "not set"),
        }
        if self._runtime:
            engine = self._runtime.engine
            level = WARN if engine.degraded else level
            message = f"{message} {engine.message}".rstrip()
            values |= {"runtime": engine.runtime, "precision": engine.precision}
            if engine.layers:
                values["layers"] = format_layers(engine.layers)
            if engine.progress is not None:
                values["engine built"] = f"{engine.progress:.0%}"
        return status(level, self.get_name(), message, values)

    def _refuse(self, sentence: str) -> TransitionCallbackReturn:
        self._error = sentence
        self.get_logger().error(f"The node cannot be configured: {sentence}")
        self._free()
        return REFUSED

    def _free(self) -> None:
        if self._runtime:
            self._runtime.close()
        self._runtime = None
