"""The type of a topic's messages: from the definition in the bag, read tolerantly, else from this package's own.

Recorders store definitions with the line ends of their system, in .msg text or IDL, with or without the parts that they
are made of, or not at all (https://mcap.dev/spec/registry#well-known-schema-encodings).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rosbags.interfaces import Nodetype
from rosbags.interfaces.typing import Typesdict
from rosbags.typesys import TypesysError, get_types_from_idl, get_types_from_msg
from rosbags.typesys.store import Typestore

from alstm_ros.errors import DataError
from alstm_ros.recordings.interfaces import typestore


def store_for(kind: str, definition: str, *, idl: bool) -> Typestore:
    """A store that knows the type with all its parts.

    Args:
        kind: the type, such as `sensor_msgs/msg/Image`.
        definition: as stored in the bag; empty where it holds none.
        idl: whether it says that it is IDL instead of .msg text; the other is tried, too.

    Raises:
        DataError: neither the definition nor this package tells what the type is.
    """
    try:
        store = Typestore()
        store.register(_completed(kind, _parsed(kind, definition, idl=idl)))
    except (DataError, TypesysError, SyntaxError, ValueError) as error:
        if kind in typestore().types:
            return typestore()
        raise DataError(f"Its messages are {kind}; {error}") from error
    return store


def _parsed(kind: str, definition: str, *, idl: bool) -> Typesdict:
    """What the definition says.

    Raises:
        DataError: it cannot be read, or does not say what the type is made of.
    """
    text = definition.lstrip("\ufeff").replace("\0", "").replace("\r\n", "\n").replace("\r", "\n")
    for read in (_from_idl, _from_msg) if idl else (_from_msg, _from_idl):
        try:
            types = read(text, kind)
        except (TypesysError, RecursionError, ValueError, KeyError):
            continue
        if kind in types and types[kind][1]:
            return types
    raise DataError("the bag holds no definition of them that can be read.")


def _from_msg(text: str, kind: str) -> Typesdict:
    return get_types_from_msg(text, kind)


def _from_idl(text: str, _kind: str) -> Typesdict:
    """IDL as mcap has it: one part after the other, each under a line of '=' and one that names it."""
    types: Typesdict = {}
    for part in re.split(r"^=+[ \t]*$", text, flags=re.MULTILINE):
        plain = re.sub(r"^\s*(#.*|IDL:.*)$", "", part, flags=re.MULTILINE)  # rosbags takes no #include
        if plain.strip():
            types |= get_types_from_idl(plain)
    return types


def _completed(kind: str, types: Typesdict) -> Typesdict:
    """The type with all that it is made of; parts that the definition lacks are this package's own.

    Raises:
        DataError: this package does not know a part that is missing.
    """
    known = typestore().fielddefs
    whole: Typesdict = {}
    waiting = [kind]
    while waiting:
        name = waiting.pop()
        if name in whole:
            continue
        entry = types.get(name) or known.get(name)
        if entry is None:
            raise DataError(f"their definition in the bag lacks {name}.")
        whole[name] = entry
        waiting += _parts(entry[1])
    return whole


def _parts(fields: object) -> Iterator[str]:
    """Names of the types that fields are made of."""
    for _, description in fields:  # type: ignore[attr-defined]  # (name, description) pairs
        while description[0] in {Nodetype.ARRAY, Nodetype.SEQUENCE}:
            description = description[1][0]  # noqa: PLW2901  # an array's own description lies within
        if description[0] == Nodetype.NAME:
            yield description[1]
