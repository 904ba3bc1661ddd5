"""Parameters as people write them: YAML files, and NAME=VALUE on a command line."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from alstm_ros.config import Config
from alstm_ros.errors import ConfigError
from alstm_ros.options import flatten, replace


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads 3e-4 and 1e5 as texts; they are numbers here, as in YAML 1.2 and for the node's own parser."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str) -> object:
    """The value that a YAML text holds.

    Raises:
        ConfigError: it is no YAML.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506  # it is a safe one
    except yaml.YAMLError as error:
        raise ConfigError(str(error)) from error


def read_yaml(path: Path) -> object:
    """The value that a YAML file holds.

    Raises:
        ConfigError: it cannot be read, or is no YAML.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"))
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


def load_config(path: Path, base: Config | None = None) -> Config:
    """Reads the YAML file that the node takes: any `<node>: ros__parameters:`, `/**` among them, later ones winning.

    Args:
        path: the file.
        base: what to start from; the defaults when None.

    Returns:
        The config.

    Raises:
        ConfigError: the file cannot be read, is no such YAML, or holds an unknown or refused parameter.
    """
    tree = read_yaml(path)
    changes: dict[str, object] = {}
    for node, body in tree.items() if isinstance(tree, Mapping) else ():
        if not isinstance(body, Mapping) or not isinstance(body.get("ros__parameters"), Mapping):
            msg = f"In {path}, '{node}' holds no 'ros__parameters'; it must look like '/**: ros__parameters: ...'."
            raise ConfigError(msg)
        changes.update(flatten(body["ros__parameters"]))
    if not changes:
        msg = f"The parameter file {path} holds no parameters; it must look like '/**: ros__parameters: ...'."
        raise ConfigError(msg)
    changes.pop("use_sim_time", None)  # ROS's own parameter; the core knows only stamps
    try:
        return replace(base or Config(), changes)
    except ConfigError as error:
        msg = f"{path}: {error}"
        raise ConfigError(msg) from error
