"""Parameters as people write them: the YAML files of ROS nodes, other YAML files, and NAME=VALUE on a command line.

Scalars mean what they mean to a node: rcl's own reader knows neither YAML 1.1's dates and numbers of base 60 nor
`1_000`, and reads 3e-4 as a number. Which entries of a file a node takes follows the same reader: names with
namespaces, written with slashes or one in the other, `*` for one name and `**` for any number of them, later entries
winning
(https://design.ros2.org/articles/160_ros_command_line_arguments.html; a test starts nodes with the same files).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from alstm_ros.config import Config
from alstm_ros.errors import ConfigError
from alstm_ros.options import flatten, options, replace

PARAMETERS = "ros__parameters"
NODE = "alstm"
"""The node's name where nobody gives another."""
FOREIGN = ("use_sim_time", "start_type_description_service", "qos_overrides.", "diagnostic_updater.")
"""Parameters of every ROS node, and what those begin with that have groups; the core knows none of them."""
TRUE = frozenset(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"))
"""Words that rcl reads as true."""
FALSE = frozenset(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"))
"""Words that rcl reads as false."""
_WHOLE = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|\d+)")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_ENDLESS = re.compile(r"([-+]?)\.(inf|Inf|INF|nan|NaN|NAN)")


def user_path(text: str) -> Path:
    """A path as a person writes it, `~` for the home folder.

    Raises:
        ConfigError: it names the home folder of somebody who is not known here, or holds a zero byte.
    """
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"The path '{text}' names a home folder that is not known here.") from error
    if "\0" in text:
        raise ConfigError(f"The path {text!r} holds a zero byte.")
    return path


def parse_yaml(text: str) -> object:
    """The value that a YAML text holds.

    Raises:
        ConfigError: it is no YAML.
    """
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, yaml.SafeLoader)):
            raise ConfigError("It holds an alias (*name), which the readers of ROS do not take.")
        node = yaml.compose(text, yaml.SafeLoader)
        return None if node is None else _value(node)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(str(error)) from error


def _value(node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        found: dict[object, object] = {}
        for key, value in node.value:
            name, inner = str(key.value), _value(value)
            before = found.get(name)
            both = isinstance(before, dict) and isinstance(inner, dict)
            found[name] = _merged(before, inner) if both else inner  # type: ignore[arg-type]  # both are mappings
        return found
    if isinstance(node, yaml.SequenceNode):
        return [_value(item) for item in node.value]
    return _scalar(str(node.value), plain=getattr(node, "style", None) is None)


def _merged(first: dict[object, object], second: dict[object, object]) -> dict[object, object]:
    """One mapping of two that stand under the same key, as rcl takes them."""
    found = dict(first)
    for key, value in second.items():
        before = found.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            found[key] = _merged(before, value)
        else:
            found.pop(key, None)  # what comes later comes last
            found[key] = value
    return found


def _scalar(text: str, *, plain: bool) -> object:
    """What rcl reads: a truth value, a whole number, a number, or a text; quoted ones are texts."""
    if not plain:
        return text
    value: object = text
    if text in {"", "~", "null", "Null", "NULL"}:
        value = None
    elif text in TRUE or text in FALSE:
        value = text in TRUE
    elif _WHOLE.fullmatch(text):
        value = _whole(text)
    elif _NUMBER.fullmatch(text):
        value = float(text)
    elif found := _ENDLESS.fullmatch(text):
        value = math.nan if found[2].lower() == "nan" else math.copysign(math.inf, -1 if found[1] == "-" else 1)
    return value


def _whole(text: str) -> int | float:
    """As C's strtol reads it with base 0; what it refuses, such as 08, is left to strtod."""
    digits = text.lstrip("+-")
    if digits[:2] in {"0x", "0X"}:
        return int(text, 16)
    if digits[0] != "0" or digits == "0":
        return int(text)
    return int(text, 8) if set(digits) <= set("01234567") else float(text)


def read_yaml(path: Path) -> object:
    """The value that a YAML file holds.

    Raises:
        ConfigError: it cannot be read, or is no YAML.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise ConfigError(f"There is no parameter file {path}.") from error
    except (OSError, UnicodeDecodeError, ConfigError) as error:
        raise ConfigError(f"The parameter file {path} cannot be read: {error}") from error


def assigned(words: Sequence[str], example: str) -> dict[str, object]:
    """Names and values of changes given as NAME=VALUE; of a name that comes twice, the last.

    Args:
        words: the changes.
        example: of such a change, for the error's text.

    Raises:
        ConfigError: one has no '=', or its value is no YAML.
    """
    changes: dict[str, object] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            raise ConfigError(f"'{word}' lacks its '='; it must look like {example}.")
        try:
            changes[name] = parse_yaml(value) if value else ""  # what a shell leaves of NAME=""
        except ConfigError as error:
            raise ConfigError(f"The value in '{word}' cannot be read: {error}") from error
    return changes


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One `ros__parameters` of a file.

    Attributes:
        name: of its node with all namespaces, such as `/robot1/alstm` or `/**`.
        values: parameter names with dots to values.
    """

    name: str
    values: dict[str, object]

    @property
    def wild(self) -> bool:
        """Whether it is for more than one node."""
        return "*" in self.name

    def fits(self, node: str) -> bool:
        """Whether a node of this full name takes it."""
        pattern = "".join(
            r"(/\w+)*" if part == "**" else r"/\w+" if part == "*" else f"/{re.escape(part)}"
            for part in self.name.split("/")[1:]
        )
        return re.fullmatch(pattern, node) is not None

    def node(self, name: str) -> str | None:
        """The full name of a node of this name that takes it and is as near to the root as can be; None for none."""
        *spaces, last = self.name.split("/")[1:]
        if last not in {name, "*", "**"}:
            return None
        return "/".join(["", *("any" if part == "*" else part for part in spaces if part != "**"), name])


def entries(path: Path) -> list[FileEntry]:
    """A ROS parameter file's entries, in its order.

    Raises:
        ConfigError: it cannot be read, or is no such file.
    """
    tree = read_yaml(path)
    found = list(_entries(tree, "", path)) if isinstance(tree, Mapping) else []
    if not any(entry.values for entry in found):
        msg = f"The parameter file {path} holds no parameters; it must look like '/**: ros__parameters: ...'."
        raise ConfigError(msg)
    return found


def _entries(tree: Mapping[object, object], above: str, path: Path) -> Iterator[FileEntry]:
    for key, body in tree.items():
        name = above + "".join(f"/{part}" for part in str(key).split("/") if part)
        if key == PARAMETERS and above and isinstance(body, Mapping):
            yield FileEntry(above, dict(flatten(body)))
        elif isinstance(body, Mapping) and body and not (above and key == PARAMETERS):
            yield from _entries(body, name, path)
        else:
            where = above.lstrip("/") or str(key)
            msg = f"In {path}, '{where}' holds no 'ros__parameters'; it must look like '/**: ros__parameters: ...'."
            raise ConfigError(msg)


def load_config(path: Path, base: Config | None = None, node: str = NODE) -> Config:
    """Reads a ROS parameter file as the node would.

    Args:
        path: the file.
        base: what to start from; the defaults when None.
        node: the node's name. Without namespaces it is looked for: at the root, else the only one of that name; in a
            file for a single node, that one.

    Returns:
        The config. What is for other nodes, or for every ROS node, is left out, as is what a wildcard's entry
        holds outside of this package's groups: it may be for others.

    Raises:
        ConfigError: the file cannot be read, is no such file, holds nothing for this node or for several of its name,
            or an unknown or refused parameter.
    """
    found = entries(path)
    full = _full_name(found, node, path)
    groups = {name.partition(".")[0] for name in options(Config)}
    changes: dict[str, object] = {}
    for entry in (entry for entry in found if entry.fits(full)):
        for name, value in entry.values.items():
            foreign = name.startswith(FOREIGN) or (entry.wild and name.partition(".")[0] not in groups)
            if not foreign:
                changes[name] = value
    try:
        return replace(base or Config(), changes)
    except ConfigError as error:
        msg = f"{path}: {error}"
        raise ConfigError(msg) from error


def _full_name(found: Sequence[FileEntry], node: str, path: Path) -> str:
    """The full name of the node that is meant."""
    if node.startswith("/"):
        named = node
    else:
        exact = [name for entry in found if not entry.wild and (name := entry.node(node))]
        wild = [name for entry in found if entry.wild and (name := entry.node(node))]
        plain = [entry.name for entry in found if not entry.wild]
        root = f"/{node}"
        choices = [name for name in dict.fromkeys(exact or wild or plain) if name != root]
        if root in exact or (root in wild and not exact) or not choices:
            named = root
        elif len(choices) == 1:
            named = choices[0]
        else:
            raise ConfigError(f"{path} is for several nodes, {', '.join(choices)}; name one with --node.")
    if not any(entry.fits(named) for entry in found):
        raise ConfigError(
            f"{path} holds nothing for the node {named}, only for {', '.join(entry.name for entry in found)}."
        )
    return named
