"""Reads a network back, to train it further: from the ONNX file that ships, or from a run's checkpoint."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from alstm_ros.association.learned.associator import MODELS, Layout
from alstm_ros.errors import ModelError
from alstm_ros.learning.network.model import AssociationLstm
from alstm_ros.learning.network.variants import VariantConfig, make_network
from alstm_ros.types import Float32


def read_model(name: str) -> AssociationLstm:
    """The network of a file, ready to be trained further.

    Args:
        name: a name in MODELS, an ONNX file that `alstm train` wrote, or its `checkpoint.pt`.

    Returns:
        The network, on the processor; it computes what the file computes.

    Raises:
        ModelError: there is no such file, it is none of ours, or it holds halved weights, which cannot be trained on.
    """
    path = MODELS.get(name, Path(name))
    if not path.is_file():
        raise ModelError(f"There is no model at {path}; give an ONNX file or a checkpoint, or one of {list(MODELS)}.")
    try:
        return _checkpoint(path) if path.suffix == ".pt" else _onnx(path)
    except ModelError as error:
        raise error if str(path) in str(error) else ModelError(f"{path}: {error}") from error


def blended(trained: AssociationLstm, start: AssociationLstm, share: float) -> AssociationLstm:
    """A network between two, weight by weight.

    Args:
        trained: the one,
        start: and the other, of the same sizes; it is changed and returned.
        share: of the other; 0 is the first, 1 the second.
    """
    ours, theirs = trained.state_dict(), start.state_dict()
    mixed = {
        name: value.to(theirs[name].device).lerp(theirs[name], share)
        for name, value in ours.items()
        if value.is_floating_point()
    }
    start.load_state_dict(theirs | mixed)
    return start


def read_metadata(path: Path) -> dict[str, str]:
    """What an ONNX file says of itself.

    Raises:
        ModelError: it is no ONNX file.
    """
    return {item.key: item.value for item in _load(path).metadata_props}


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load(str(path))
    except Exception as error:  # protobuf's own kinds of error are no public names
        raise ModelError(f"{path} is no ONNX file: {error}") from error


def _checkpoint(path: Path) -> AssociationLstm:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        model = make_network(VariantConfig(**state["config"]["model"]))
        model.load_state_dict(state["model"])
    except (OSError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise ModelError(f"It is no checkpoint of this network: {error}") from error
    return model


def _onnx(path: Path) -> AssociationLstm:
    proto = _load(path)
    metadata = {item.key: item.value for item in proto.metadata_props}
    Layout.read(metadata)
    if metadata.get("precision") != "fp32":
        raise ModelError("Its weights were halved; train from the FP32 file that it was made of.")
    if "network" not in metadata:
        raise ModelError("It does not name its weights; only files that `alstm train` wrote since 0.1.0 do.")
    constants = {item.name: numpy_helper.to_array(item).astype(np.float32) for item in proto.graph.initializer}
    try:
        model = make_network(VariantConfig(**json.loads(metadata["network"])))
        model.load_state_dict(_state(model, constants))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"Its weights are not those of the network that it describes: {error}") from error
    return model


def _state(model: AssociationLstm, constants: Mapping[str, Float32]) -> dict[str, Tensor]:
    """The network's state from an ONNX file's constants, which `network_graph` names after the layers."""
    state = model.state_dict()
    for name, layer in model.named_children():
        if isinstance(layer, nn.BatchNorm1d):  # was written as a scale and a shift
            scale, shift = constants[f"{name}.scale"], constants[f"{name}.shift"]
            found = {"running_mean": -shift / scale, "running_var": np.maximum(1 / scale**2 - layer.eps, 0)}
        elif isinstance(layer, nn.LSTM):  # both matrices side by side, both biases summed
            both, bias = constants[f"{name}.weight"], constants[f"{name}.bias"]
            inputs, states = np.split(both, [layer.input_size], axis=1)
            found = {"weight_ih_l0": inputs, "weight_hh_l0": states}
            found |= {"bias_ih_l0": bias, "bias_hh_l0": np.zeros_like(bias)}
        else:
            found = {part: constants[f"{name}.{part}"] for part, _ in layer.named_parameters()}
        state |= {f"{name}.{part}": torch.from_numpy(np.array(value)) for part, value in found.items()}
    return state
