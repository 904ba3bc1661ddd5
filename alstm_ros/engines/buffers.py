"""An engine's memory: for each tensor one buffer on the device and one page-locked on the host, at the largest size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alstm_ros.engines.device import Device
from alstm_ros.types import UInt8


@dataclass(slots=True)
class Slot:
    """One tensor's memory.

    Attributes:
        address: where it is on the device; changes for recurrent states.
        memory: `(bytes,)` uint8, page-locked.
        dtype: the tensor's element type on the device.
    """

    address: int
    memory: UInt8
    dtype: np.dtype[Any]

    def view(self, shape: tuple[int, ...]) -> NDArray[Any]:
        """The beginning of the host's memory as an array of this shape."""
        return self.memory[: prod(shape) * self.dtype.itemsize].view(self.dtype).reshape(shape)


class Buffers:
    """Every tensor's memory, by name."""

    def __init__(self, device: Device) -> None:
        """Starts with none."""
        self._device = device
        self._slots: dict[str, Slot] = {}
        self._pairs: dict[str, str] = {}

    def __getitem__(self, name: str) -> Slot:
        """The memory of this tensor."""
        return self._slots[name]

    def add(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Makes the memory of a tensor whose largest shape this is."""
        size = prod(shape) * dtype.itemsize
        address = self._device.allocate(size)
        try:
            self._slots[name] = Slot(address, self._device.pinned(size), dtype)
        except BaseException:
            self._device.free(address)
            raise

    def pair(self, name: str, following: str) -> None:
        """Says that what the model writes to `following` is what it reads from `name` in the next step."""
        if self._slots[name].memory.size == self._slots[following].memory.size:
            self._pairs[name] = following

    @property
    def pairs(self) -> Mapping[str, str]:
        """The recurrent states: name of the input to name of the output that follows it."""
        return self._pairs

    def swap(self) -> dict[str, str]:
        """Lets the states that were written be the ones that are read; returns input to output."""
        for name, following in self._pairs.items():
            one, other = self._slots[name], self._slots[following]
            one.address, other.address = other.address, one.address
        return self._pairs

    def addresses(self) -> dict[str, int]:
        """Where each tensor is on the device now."""
        return {name: slot.address for name, slot in self._slots.items()}

    def close(self) -> None:
        """Gives all of it back."""
        while self._slots:
            slot = self._slots.popitem()[1]
            self._device.free(slot.address)
            self._device.unpin(slot.memory)
