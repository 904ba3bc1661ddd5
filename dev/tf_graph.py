"""Reads a frozen TensorFlow graph (a serialised `tensorflow.GraphDef`) without TensorFlow.

Only the protobuf wire format is needed: https://protobuf.dev/programming-guides/encoding/. The field numbers are those
of TensorFlow's graph.proto, node_def.proto, attr_value.proto, tensor.proto and tensor_shape.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES: dict[int, type[np.generic]] = {
    1: np.float32,
    3: np.int32,
    4: np.uint8,
    9: np.int64,
    10: np.bool_,
}
"""TensorFlow's DataType to NumPy's; texts and the rest are read as no constant."""

_VALUE_FIELDS: dict[int, type[np.generic]] = {5: np.float32, 7: np.int32, 10: np.int64, 11: np.bool_}
"""TensorProto's fields for values that are not packed into `tensor_content`: float, int, int64, bool."""

Wire = int | bytes


class GraphError(Exception):
    """The bytes are no TensorFlow graph."""


@dataclass(frozen=True, slots=True)
class Node:
    """One operation of the graph.

    Attributes:
        name: unique in the graph.
        op: TensorFlow's name of the operation, such as `Conv2D`.
        inputs: names of the tensors it takes: `node`, `node:1`, or `^node` for an order of execution only.
        attributes: int, float, bytes, bool, list of int, or array, as the attribute has it; a data type is its number.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: dict[str, Any]


def read(data: bytes) -> dict[str, Node]:
    """Every node of a serialised GraphDef, by name, in the file's order.

    Args:
        data: the file's bytes.

    Raises:
        GraphError: the bytes are no protobuf message.
    """
    nodes = (_node(_bytes(value)) for number, value in _fields(data) if number == 1)
    return {node.name: node for node in nodes}


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data):
            raise GraphError("The message ends within a number; the file is damaged or no TensorFlow graph.")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(data: bytes) -> Iterator[tuple[int, Wire]]:
    """Field numbers and raw values of one message: a number, or the bytes of a text, message or fixed-size value."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == 2:
            size, at = _varint(data, at)
        elif kind in {1, 5}:
            size = 8 if kind == 1 else 4
        else:
            raise GraphError(f"Wire type {kind} at byte {at}; the file is damaged or no TensorFlow graph.")
        if at + size > len(data):
            raise GraphError("The message ends within a field; the file is damaged or no TensorFlow graph.")
        yield key >> 3, data[at : at + size]
        at += size


def _bytes(value: Wire) -> bytes:
    if isinstance(value, int):
        raise GraphError("A number where a message is due; the file is damaged or no TensorFlow graph.")
    return value


def _int(value: Wire) -> int:
    """A varint as the signed 64-bit number that it encodes."""
    if isinstance(value, bytes):
        raise GraphError("A message where a number is due; the file is damaged or no TensorFlow graph.")
    return value - (1 << 64) if value >> 63 else value


def _ints(value: Wire) -> list[int]:
    """A repeated number, packed or not."""
    if isinstance(value, int):
        return [_int(value)]
    found, at = [], 0
    while at < len(value):
        number, at = _varint(value, at)
        found.append(_int(number))
    return found


def _node(data: bytes) -> Node:
    name, op, inputs, attributes = "", "", [], {}
    for number, value in _fields(data):
        if number == 1:
            name = _bytes(value).decode()
        elif number == 2:
            op = _bytes(value).decode()
        elif number == 3:
            inputs.append(_bytes(value).decode())
        elif number == 5:  # map<string, AttrValue>: an entry's key is field 1, its value field 2
            entry = dict(_fields(_bytes(value)))
            attributes[_bytes(entry[1]).decode()] = _attribute(_bytes(entry.get(2, b"")))
    return Node(name, op, tuple(inputs), attributes)


def _attribute(data: bytes) -> Any:
    """The value of an AttrValue; None for what no constant needs."""
    readers: dict[int, Callable[[Wire], Any]] = {
        1: lambda value: [n for field, part in _fields(_bytes(value)) if field == 3 for n in _ints(part)],  # a list
        2: _bytes,
        3: _int,
        4: lambda value: struct.unpack("<f", _bytes(value))[0],
        5: bool,
        6: _int,  # a data type
        8: lambda value: _tensor(_bytes(value)),
    }
    return next((readers[number](value) for number, value in _fields(data) if number in readers), None)


def _tensor(data: bytes) -> NDArray[Any] | None:
    kind, shape, content, values = 0, [], b"", b""
    for number, value in _fields(data):
        if number == 1:
            kind = _int(value)
        elif number == 2:
            dims = [_bytes(dim) for field, dim in _fields(_bytes(value)) if field == 2]
            shape = [next((_int(size) for field, size in _fields(dim) if field == 1), 0) for dim in dims]
        elif number == 4:
            content = _bytes(value)
        elif number in _VALUE_FIELDS:
            packed = _bytes(value) if number == 5 else np.array(_ints(value), _VALUE_FIELDS[number]).tobytes()
            values += packed
    if kind not in DTYPES:
        return None
    if content:
        return np.frombuffer(content, DTYPES[kind]).reshape(shape)
    given = np.frombuffer(values, DTYPES[kind])
    full = np.empty(int(np.prod(shape)), DTYPES[kind])
    full[: len(given)] = given
    full[len(given) :] = given[-1] if len(given) else 0  # the last value stands for all that follow
    return full.reshape(shape)
