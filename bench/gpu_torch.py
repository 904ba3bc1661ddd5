"""An ONNX file as a torch module, so that torch runs exactly the network that TensorRT and ONNX Runtime run.

Only for comparison: it knows the operations of the shipped models, and names the first one that it does not know.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  # its usual name

TYPES = {
    1: torch.float32,
    2: torch.uint8,
    3: torch.int8,
    6: torch.int32,
    7: torch.int64,
    9: torch.bool,
    10: torch.float16,
}

Attributes = Mapping[str, Any]


class OnnxModule(nn.Module):
    """Runs a graph node by node; shapes and indices stay on the host, as exporters would fold them."""

    def __init__(self, path: Path) -> None:
        """Reads a model.

        Raises:
            NotImplementedError: it has an operation that is not known here.
        """
        super().__init__()
        model = onnx.load(str(path))
        self.steps: list[tuple[str, list[str], list[str], dict[str, Any]]] = []
        self.small: dict[str, Tensor] = {}
        self.names: dict[str, str] = {}
        for weight in model.graph.initializer:
            self._constant(weight.name, numpy_helper.to_array(weight))
        for node in model.graph.node:
            attributes = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}
            attributes["outputs"] = len(node.output)
            if node.op_type == "Constant":
                self._constant(node.output[0], numpy_helper.to_array(attributes["value"]))
                continue
            if node.op_type not in OPERATIONS:
                raise NotImplementedError(
                    f"{path.name} has the operation {node.op_type}, which is not written in torch here"
                )
            if node.op_type == "Resize" and node.input[2] in self.names:  # scales are sizes, not data: on the host
                self.small[node.input[2]] = getattr(self, self.names[node.input[2]])
                del self._buffers[self.names.pop(node.input[2])]
            self.steps.append((node.op_type, list(node.input), list(node.output), attributes))
        self.outputs = [value.name for value in model.graph.output]

    def _constant(self, name: str, array: np.ndarray[Any, Any]) -> None:
        tensor = torch.from_numpy(array.copy())
        if tensor.is_floating_point():
            self.names[name] = f"weight{len(self.names) + len(self.small)}"
            self.register_buffer(self.names[name], tensor)
        else:
            self.small[name] = tensor

    def forward(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Name to tensor, in and out."""
        values = self._run(inputs)
        return {name: values[name] for name in self.outputs}

    def specialise(self, inputs: dict[str, Tensor]) -> OnnxModule:
        """Folds all that depends on the inputs' shapes alone, as TensorRT does, so that torch is not held up by it."""
        values = self._run(inputs)
        fixed, steps = set(self.small) | set(self.names), []
        for step in self.steps:
            operation, names, outputs, _ = step
            if operation != "Shape" and not fixed.issuperset(name for name in names if name):
                steps.append(step)
                continue
            fixed.update(outputs)
            for name in outputs:
                self._constant(name, values[name].cpu().numpy())
        self.steps = steps
        return self.to(next(iter(inputs.values())).device)

    def _run(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        values: dict[str, Tensor] = dict(inputs) | self.small
        values |= {name: getattr(self, buffer) for name, buffer in self.names.items()}
        for operation, names, outputs, attributes in self.steps:
            given = [values[name] if name else None for name in names]
            found = OPERATIONS[operation](attributes, *given)
            for name, value in zip(outputs, found if isinstance(found, tuple) else (found,), strict=False):
                values[name] = value
        return values


def _ints(tensor: Tensor) -> list[int]:
    return [int(value) for value in tensor.flatten().tolist()]


def _conv(a: Attributes, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    count = w.ndim - 2
    pads = a.get("pads", [0] * 2 * count)
    if a.get("auto_pad", b"NOTSET") not in {b"NOTSET", b"VALID"}:
        raise NotImplementedError("Conv with auto_pad")
    flat = [side for place in reversed(range(count)) for side in (pads[place], pads[place + count])]
    stride, dilation = a.get("strides", [1] * count), a.get("dilations", [1] * count)
    return F.conv2d(F.pad(x, flat), w, b, stride, 0, dilation, a.get("group", 1))


def _gemm(a: Attributes, x: Tensor, y: Tensor, z: Tensor | None = None) -> Tensor:
    left, right = (x.T if a.get("transA") else x), (y.T if a.get("transB") else y)
    out: Tensor = a.get("alpha", 1.0) * (left @ right)
    return out if z is None else out + a.get("beta", 1.0) * z


def _slice(_: Attributes, x: Tensor, starts: Tensor, ends: Tensor, *rest: Tensor) -> Tensor:
    axes = _ints(rest[0]) if rest else list(range(len(_ints(starts))))
    steps = _ints(rest[1]) if len(rest) > 1 else [1] * len(axes)
    for start, end, axis, step in zip(_ints(starts), _ints(ends), axes, steps, strict=True):
        size = x.shape[axis]
        picked = range(size)[start:end:step]
        if step > 0:
            first, last = (picked[0], picked[-1] + 1) if len(picked) else (0, 0)
            index: list[Any] = [slice(None)] * x.ndim
            index[axis] = slice(first, last, step)
            x = x[tuple(index)]
        else:
            x = x.index_select(axis, torch.tensor(list(picked), device=x.device))
    return x


def _reshape(_: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    return x.reshape([x.shape[place] if size == 0 else size for place, size in enumerate(_ints(shape))])


def _expand(_: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    return x.expand(np.broadcast_shapes(tuple(x.shape), tuple(_ints(shape))))


def _gather(a: Attributes, x: Tensor, index: Tensor) -> Tensor:
    axis = a.get("axis", 0) % x.ndim
    flat = index.to(x.device).long().reshape(-1)
    flat = torch.where(flat < 0, flat + x.shape[axis], flat)
    return x.index_select(axis, flat).reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def _gather_nd(a: Attributes, x: Tensor, index: Tensor) -> Tensor:
    if a.get("batch_dims", 0) == 0:
        return x[tuple(index.to(x.device).unbind(-1))]
    if a["batch_dims"] != 1:
        raise NotImplementedError("GatherND with two batch axes")
    rows = torch.arange(x.shape[0], device=x.device).reshape(-1, *[1] * (index.ndim - 2))
    places = (rows, *index.unbind(-1))
    return x[places]


def _axes(a: Attributes, rest: tuple[Tensor | None, ...]) -> list[int]:
    if rest and rest[0] is not None:
        return _ints(rest[0])
    return list(a.get("axes", []))


def _squeeze(a: Attributes, x: Tensor, *rest: Tensor) -> Tensor:
    return x.squeeze(_axes(a, rest)) if _axes(a, rest) else x.squeeze()


def _unsqueeze(a: Attributes, x: Tensor, *rest: Tensor) -> Tensor:
    axes = _axes(a, rest)
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _reduce(how: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def reduce(a: Attributes, x: Tensor, *rest: Tensor) -> Tensor:
        axes = _axes(a, rest) or list(range(x.ndim))
        return how(x, dim=axes, keepdim=bool(a.get("keepdims", 1)))

    return reduce


def _top_k(a: Attributes, x: Tensor, k: Tensor) -> tuple[Tensor, ...]:
    # a stable sort, since ONNX puts the lower index first among equals and torch.topk does not
    values, order = torch.sort(x, dim=a.get("axis", -1), descending=bool(a.get("largest", 1)), stable=True)
    return values.narrow(a.get("axis", -1), 0, _ints(k)[0]), order.narrow(a.get("axis", -1), 0, _ints(k)[0])


def _split(a: Attributes, x: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    axis = a.get("axis", 0)
    return torch.split(x, -(-x.shape[axis] // a["outputs"]) if sizes is None else _ints(sizes), dim=axis)


def _range(_: Attributes, start: Tensor, stop: Tensor, step: Tensor) -> Tensor:
    return torch.arange(start.item(), stop.item(), step.item(), dtype=start.dtype, device=start.device)


def _norm(a: Attributes, x: Tensor, scale: Tensor, shift: Tensor | None = None) -> Tensor:
    axis = a.get("axis", -1) % x.ndim
    return F.layer_norm(x, x.shape[axis:], scale, shift, a.get("epsilon", 1e-5))


def _lp(a: Attributes, x: Tensor) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(x, a.get("p", 2), a.get("axis", -1), keepdim=True)
    return x / length


def _same_device(how: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def work(_: Attributes, *values: Tensor) -> Tensor:
        device = next((value.device for value in values if value.device.type != "cpu"), values[0].device)
        return how(*(value.to(device) for value in values))

    return work


def _concat(a: Attributes, *values: Tensor) -> Tensor:
    return _same_device(lambda *parts: torch.cat(parts, a["axis"]))({}, *values)


def _clip(_: Attributes, x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
    return x.clamp(low, high)


def _argmax(a: Attributes, x: Tensor) -> Tensor:
    return x.argmax(a.get("axis", 0), keepdim=bool(a.get("keepdims", 1)))


def _resize(a: Attributes, x: Tensor, _: Tensor | None, scales: Tensor | None, sizes: Tensor | None = None) -> Tensor:
    mode, where = (a[key].decode() for key in ("mode", "coordinate_transformation_mode"))
    if sizes is None:
        factors = [] if scales is None else scales.tolist()
        size = [int(side * factor) for side, factor in zip(x.shape, factors, strict=True)][2:]
    else:
        size = _ints(sizes)[2:]
    if (mode, where, a.get("nearest_mode")) == ("nearest", "asymmetric", b"floor"):
        return F.interpolate(x, size, mode="nearest")
    if (mode, where) == ("linear", "half_pixel"):
        return F.interpolate(x, size, mode="bilinear", align_corners=False)
    raise NotImplementedError(f"Resize {mode} {where}")


def _divide(x: Tensor, y: Tensor) -> Tensor:
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


OPERATIONS: dict[str, Callable[..., Any]] = {
    "Add": _same_device(torch.add),
    "ArgMax": _argmax,
    "Cast": lambda a, x: x.to(TYPES[a["to"]]),
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Div": _same_device(_divide),
    "Equal": _same_device(torch.eq),
    "Exp": lambda _, x: x.exp(),
    "Expand": _expand,
    "Gather": _gather,
    "GatherElements": lambda a, x, index: x.gather(a.get("axis", 0), index),
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "Identity": lambda _, x: x,
    "LayerNormalization": _norm,
    "Log": lambda _, x: x.log(),
    "LpNormalization": _lp,
    "MatMul": _same_device(torch.matmul),
    "Max": _same_device(lambda *values: functools.reduce(torch.maximum, values)),
    "Min": _same_device(lambda *values: functools.reduce(torch.minimum, values)),
    "Mul": _same_device(torch.mul),
    "Range": _range,
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "Relu": lambda _, x: x.relu(),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": lambda _, x: torch.tensor(x.shape, dtype=torch.int64),
    "Sigmoid": lambda _, x: x.sigmoid(),
    "Slice": _slice,
    "Softplus": lambda _, x: F.softplus(x),
    "Split": _split,
    "Sqrt": lambda _, x: x.sqrt(),
    "Squeeze": _squeeze,
    "Sub": _same_device(torch.sub),
    "Tanh": lambda _, x: x.tanh(),
    "TopK": _top_k,
    "Transpose": lambda a, x: x.permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
    "Where": _same_device(torch.where),
}
