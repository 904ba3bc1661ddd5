"""ROS parameters from the one declaration in `config`: types, descriptors, start-up values, changes while running."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node
from rclpy.parameter import Parameter

from alstm_ros.config import Config
from alstm_ros.errors import ConfigError
from alstm_ros.options import Option, Value, options, replace

OPTIONS = options(Config)

_TYPES = {
    "bool": Parameter.Type.BOOL,
    "int": Parameter.Type.INTEGER,
    "float": Parameter.Type.DOUBLE,
    "str": Parameter.Type.STRING,
    "tuple[str, ...]": Parameter.Type.STRING_ARRAY,
    "tuple[int, ...]": Parameter.Type.INTEGER_ARRAY,
}
_INT64 = 2**63


def descriptor(option: Option) -> ParameterDescriptor:
    """What `ros2 param describe` and the sliders of rqt show.

    Parameters that are not live are no `read_only` ones, since they may change while the node is unconfigured.
    """
    when = "Changes at once." if option.live else "Changes only while the node is unconfigured."
    described = ParameterDescriptor(
        description=option.doc,
        additional_constraints=f"{option.allowed[0].upper()}{option.allowed[1:]}. {when}",
    )
    if option.low is None and option.high is None:
        return described
    if option.kind == "int":
        low = -_INT64 if option.low is None else int(option.low)
        high = _INT64 - 1 if option.high is None else int(option.high)
        described.integer_range = [IntegerRange(from_value=low, to_value=high, step=0)]
    elif option.kind == "float":
        low_float = -sys.float_info.max if option.low is None else float(option.low)
        high_float = sys.float_info.max if option.high is None else float(option.high)
        described.floating_point_range = [FloatingPointRange(from_value=low_float, to_value=high_float, step=0.0)]
    return described


def declare(node: Node) -> Config:
    """Declares every parameter on the node, with the values of its command line and YAML files.

    rclpy itself would refuse `1` where a number like `1.0` is wanted, and an empty list, which YAML gives no type;
    so the values given are read here, checked by their Option, and set with their exact type.

    Args:
        node: declares on this node.

    Returns:
        The config that results.

    Raises:
        ConfigError: a value is refused.
    """
    given = {name: parameter.value for name, parameter in node._parameter_overrides.items()}  # noqa: SLF001  # rclpy offers no other way to see names that nobody declares
    config = Config()
    for name, option in OPTIONS.items():
        value = option.default
        if name in given:
            value = option.check(_listed(option, given[name]))
            config = replace(config, {name: value})
        node.declare_parameter(name, _TYPES[option.kind], descriptor(option), ignore_override=True)
        node.set_parameters([_parameter(option, value)])
    for name in sorted(given):
        if not node.has_parameter(name) and not name.startswith("qos_overrides."):
            node.get_logger().warning(_unknown(name))
    return config


def typed(node: Node, parameters: Iterable[Parameter]) -> list[Parameter]:
    """The parameters with their declared types: 1 becomes 1.0 where wanted, an empty list gets its item's type.

    Raises:
        ConfigError: a value is refused, or nobody declared the parameter.
    """
    found = []
    for parameter in parameters:
        option = OPTIONS.get(parameter.name)
        if option is not None:
            found.append(_parameter(option, option.check(_listed(option, parameter.value))))
        elif node.has_parameter(parameter.name):
            found.append(parameter)
        else:
            raise ConfigError(_unknown(parameter.name))
    return found


def changed_config(config: Config, parameters: Iterable[Parameter], *, structure: bool) -> Config:
    """The config with these parameters.

    Args:
        config: the one in force.
        parameters: what is to change; names that are not ours are passed over.
        structure: whether parameters that are not live may change.

    Returns:
        The new config.

    Raises:
        ConfigError: a value is refused, or may not change now.
    """
    changes = {p.name: p.value for p in parameters if p.name in OPTIONS}
    new = replace(config, changes)
    if not structure:
        for name in changes:
            if not OPTIONS[name].live and _value(new, name) != _value(config, name):
                msg = (
                    f"Parameter '{name}' belongs to the node's structure and does not change while it runs; deactivate "
                    "and clean up the node (ros2 lifecycle set), set it and configure again, or restart with it."
                )
                raise ConfigError(msg)
    return new


def _value(config: object, name: str) -> object:
    for part in name.split("."):
        config = getattr(config, part)
    return config


def _listed(option: Option, value: object) -> object:
    """An empty list comes as nothing at all from YAML, and with any item type from a service."""
    if not option.is_list:
        return value
    return list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [] if value is None else value


def _parameter(option: Option, value: Value) -> Parameter:
    return Parameter(option.name, _TYPES[option.kind], list(value) if isinstance(value, tuple) else value)


def _unknown(name: str) -> str:
    near = difflib.get_close_matches(name, OPTIONS, 1, 0.5)
    return f"There is no parameter '{name}'" + (f"; did you mean '{near[0]}'?" if near else ".")
