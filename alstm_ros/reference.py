"""Writes `config/alstm.yaml` and `docs/parameters.md` from the declarations in `config`.

python -m alstm_ros.reference --yaml > config/alstm.yaml
python -m alstm_ros.reference --markdown > docs/parameters.md
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import fields

from alstm_ros.config import Config
from alstm_ros.options import Option, Value, options

WIDTH = 100


def yaml_text() -> str:
    """The YAML file: every parameter with its default, description and what is allowed."""
    lines = [
        "# Every parameter of the node and of the `alstm` command, with its default; leave out what you do not change.",
        "# Those marked [live] may be set while the node runs: ros2 param set /alstm NAME VALUE.",
        "# Written by: python -m alstm_ros.reference --yaml",
        "/**:",
        "  ros__parameters:",
    ]
    group = ""
    for option in options(Config).values():
        head, _, name = option.name.rpartition(".")
        if head != group:
            group = head
            lines += ["", f"    {group}:  # {_about(group)}"]
        indent = " " * (6 if head else 4)
        lines += textwrap.wrap(_sentence(option), WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        lines.append(f"{indent}{name}: {_yaml(option.default)}")
    return "\n".join(lines) + "\n"


def markdown_text() -> str:
    """The reference page: one table a group."""
    return "\n".join(_page()) + "\n"


def _page() -> Iterator[str]:
    yield "# Parameters"
    yield ""
    yield "Written from the declarations in `alstm_ros/config.py` by `python -m alstm_ros.reference --markdown`."
    yield ""
    yield "*Live* parameters change while the node runs, before the next frame: `ros2 param set /alstm NAME VALUE`. The"
    yield "others belong to the node's structure: they are taken at start, or set while the node is unconfigured"
    yield "(`ros2 lifecycle set /alstm deactivate`, then `cleanup`), and are refused otherwise."
    group = None
    for option in options(Config).values():
        head = option.name.rpartition(".")[0]
        if head != group:
            group = head
            yield ""
            yield f"## {f'`{group}.*`' if group else 'The node'}"
            yield ""
            if group:
                yield f"{_about(group)[0].upper()}{_about(group)[1:]}"
                yield ""
            yield "| parameter | default | allowed | live | |"
            yield "| --- | --- | --- | --- | --- |"
        live = "yes" if option.live else ""
        yield f"| `{option.name}` | `{_yaml(option.default)}` | {option.allowed} | {live} | {option.doc} |"


def _about(group: str) -> str:
    """What a group is for, as its class says after its name."""
    kinds = {field.name: field.default_factory for field in fields(Config)}
    line = (inspect.getdoc(kinds[group]) or "").partition("\n")[0]
    return line.partition(": ")[2]


def _sentence(option: Option) -> str:
    live = " [live]" if option.live else ""
    return f"{option.doc} {option.allowed[0].upper()}{option.allowed[1:]}.{live}"


def _yaml(value: Value) -> str:
    """The value as both YAML parsers in use read it: rcl's and PyYAML, which needs a dot in `1.0e-05`."""
    if isinstance(value, tuple):
        return f"[{', '.join(_yaml(item) for item in value)}]"
    text = json.dumps(value)
    if isinstance(value, float) and "e" in text and "." not in text:
        text = text.replace("e", ".0e")
    return text


def main() -> int:
    """Prints one of the two; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    form = parser.add_mutually_exclusive_group(required=True)
    form.add_argument("--yaml", dest="write", action="store_const", const=yaml_text, help="config/alstm.yaml")
    form.add_argument("--markdown", dest="write", action="store_const", const=markdown_text, help="docs/parameters.md")
    sys.stdout.write(parser.parse_args().write())
    return 0


if __name__ == "__main__":
    sys.exit(main())
