"""TensorRT's engines at work, on a simulated GPU (see `simulated_gpu`): padding, graphs, states, failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from simulated_gpu import SimulatedDevice, SimulatedTensorRT
from tiny_models import FEATURES, HIDDEN, PAIR, Graph, assert_same, painted_detector, recurrent_step, reference

from alstm_ros.engines import tensorrt_api, tensorrt_engine, tensorrt_graph
from alstm_ros.engines.failures import DeviceLostError, EngineFailure, UnsupportedModelError
from alstm_ros.engines.loaded_plan import LoadedPlan
from alstm_ros.engines.profiles import make_profile
from alstm_ros.engines.tensorrt_api import Flavour
from alstm_ros.engines.tensorrt_engine import Interface, TensorRTEngine
from alstm_ros.errors import ModelError


class World:
    """A model on ONNX Runtime and on the simulated GPU."""

    def __init__(self, folder: Path, model: onnx.ModelProto, version: str = "10.3.0", memory: int = 1 << 30) -> None:
        self.device = SimulatedDevice(memory=memory)
        self.module = SimulatedTensorRT(self.device, version)
        self.flavour = Flavour("tensorrt", version, self.module, tensorrt_api._logger(self.module))
        self.reference = reference(folder, model)
        self.prepared = tensorrt_graph.prepare(model, "fp32")
        self.engine = TensorRTEngine(
            LoadedPlan(self.flavour, self.prepared.onnx),
            self.device,
            make_profile(self.prepared.inputs, self.prepared.outputs, self.prepared.metadata, 4),
            Interface(self.reference.inputs, self.reference.outputs, self.reference.metadata, "fp32"),
        )

    def assert_alike(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        found = self.engine(inputs)
        assert_same(self.reference(inputs), found)
        return found


@pytest.fixture
def step(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, recurrent_step())
    yield world
    world.engine.close()


def step_inputs(rows: int, pairs: int, seed: int = 0) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    shapes = {"x": (rows, FEATURES), "h": (rows, HIDDEN), "c": (rows, HIDDEN), "pairs": (pairs, PAIR)}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.tuples(st.integers(0, 70), st.integers(0, 70)), min_size=1, max_size=12))
def test_any_sequence_of_sizes_answers_as_without_padding(sizes: list[tuple[int, int]], tmp_path_factory: Any) -> None:
    world = World(tmp_path_factory.mktemp("w"), recurrent_step())
    for seed, (rows, pairs) in enumerate(sizes):
        world.assert_alike(step_inputs(rows, pairs, seed))
    world.engine.close()


def test_the_batch_is_padded_to_its_bucket(tmp_path: Path) -> None:
    world = World(tmp_path, painted_detector())
    images = np.random.default_rng(0).integers(0, 255, (4, 64, 96, 3)).astype(np.uint8)
    for count in (1, 2, 3, 4, 3, 1):
        world.assert_alike({"images": images[:count]})
    assert [shapes["images"][0] for shapes in world.module.ran] == [1, 2, 4, 4, 4, 1]
    world.assert_alike({"images": images[:2, :32, :64]})
    assert world.module.ran[-1] == {"images": (2, 32, 64, 3)}  # pixels are not padded
    assert not world.engine.takes({"images": images[:, :31]})
    assert not world.engine.takes({"images": np.zeros((5, 64, 96, 3), np.uint8)})
    with pytest.raises(ModelError, match=r"built for the shapes images:1x32x32x3\.\.1x64x96x3\.\.4x64x96x3"):
        world.engine({"images": np.zeros((5, 64, 96, 3), np.uint8)})


def test_a_bucket_runs_plainly_then_is_captured_then_replayed(step: World) -> None:
    inputs = step_inputs(5, 9)
    for _ in range(6):
        step.assert_alike({name: array.copy() for name, array in inputs.items()})
    # Two sets of addresses, since the states swap: each runs once plainly, once to be captured.
    assert (step.device.captures, step.module.enqueued, step.device.launches) == (2, 4, 4)
    step.assert_alike(step_inputs(6, 10))  # the same buckets of 8 and 16
    assert (step.device.captures, step.device.launches) == (2, 5)
    step.assert_alike(step_inputs(6, 17))  # another
    assert step.device.captures == 2


def test_a_graph_is_captured_again_when_an_address_changes(tmp_path: Path) -> None:
    world = World(tmp_path, painted_detector())
    image = {"images": np.random.default_rng(0).integers(0, 255, (1, 64, 96, 3)).astype(np.uint8)}
    for _ in range(3):
        world.assert_alike(image)
    assert (world.device.captures, world.device.launches) == (1, 2)
    slot = world.engine._buffers["images"]
    old, slot.address = slot.address, world.device.allocate(world.device.blocks[slot.address].size)
    world.device.free(old)  # a graph replayed with this address would fail
    for _ in range(3):
        world.assert_alike(image)
    assert (world.device.captures, world.device.launches) == (2, 4)


def test_states_stay_on_the_device_over_1000_steps(step: World) -> None:
    rng = np.random.default_rng(3)
    inputs = step_inputs(7, 3)
    expected = {name: array.copy() for name, array in inputs.items()}
    for number in range(1000):
        fresh = {"x": rng.standard_normal((7, FEATURES)).astype(np.float32), "pairs": inputs["pairs"]}
        inputs |= fresh
        expected |= fresh
        before = step.device.uploads
        found, wanted = step.engine(inputs), step.reference(expected)
        assert step.device.uploads - before == (4 if number == 0 else 2)
        assert_same(wanted, found)
        for state in ("h", "c"):
            inputs[state], expected[state] = found[f"{state}_next"], wanted[f"{state}_next"]


def test_a_state_from_elsewhere_is_taken_as_given(step: World) -> None:
    first = step.assert_alike(step_inputs(4, 1))
    with pytest.raises(ValueError, match="read-only"):
        first["h_next"][0] = 0
    follow = step_inputs(4, 1, seed=1) | {"h": first["h_next"].copy(), "c": first["c_next"]}
    follow["h"][2] = 0  # a track was born in this row
    second = step.assert_alike(follow)
    step.assert_alike(
        step_inputs(4, 1, seed=2) | {"h": first["h_next"], "c": second["c_next"]}
    )  # one stale, one current
    step.assert_alike(step_inputs(3, 1, seed=2) | {"h": second["h_next"][:3], "c": second["c_next"][:3]})


def test_contexts_and_graphs_are_bounded_and_freed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorrt_engine, "MOST_BUCKETS", 2)
    world = World(tmp_path, recurrent_step())
    for _ in range(3):
        for rows in (3, 20, 50, 3):
            for _ in range(4):
                world.assert_alike(step_inputs(rows, 1))
    assert len(world.engine._buckets) == 2
    assert world.device.graphs <= 4
    world.engine.close()
    world.engine.close()
    assert (world.device.graphs, world.device.blocks, world.device.locked, world.device.closed) == (0, {}, {}, True)
    with pytest.raises(EngineFailure, match="closed"):
        world.engine(step_inputs(3, 1))


def test_too_little_memory_is_said_and_all_of_it_given_back(tmp_path: Path) -> None:
    with pytest.raises(EngineFailure, match="not enough free memory") as caught:
        World(tmp_path, recurrent_step(), memory=60_000)
    device = caught.traceback[1].frame.f_locals["self"].device
    assert (device.blocks, device.locked, device.left) == ({}, {}, 60_000)


def test_no_memory_for_a_context_is_told_apart_from_other_failures(step: World) -> None:
    step.module.refuse_contexts = True
    with pytest.raises(EngineFailure, match=r"not enough free memory .*OutOfMemory"):
        step.engine(step_inputs(1, 1))
    step.module.refuse_contexts = False
    step.module.fail = (
        "Error Code 1: Cuda Runtime (In enqueue at ctx.cpp:9 (cudaError 719: unspecified launch failure))"
    )
    with pytest.raises(DeviceLostError, match="could not run the model: the GPU reports an error"):
        step.engine(step_inputs(1, 1))


def test_a_model_that_cannot_be_captured_runs_plainly(step: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> None:
        raise DeviceLostError("cudaStreamEndCapture answers cudaErrorStreamCaptureUnsupported (900).")

    monkeypatch.setattr(step.device, "capture", refuse)
    for _ in range(8):
        step.assert_alike(step_inputs(5, 5))
    assert step.device.launches == 0


def test_closing_after_the_device_is_lost_is_no_error(step: World) -> None:
    step.assert_alike(step_inputs(2, 2))
    step.device.lost = True
    with pytest.raises(DeviceLostError):
        step.engine(step_inputs(2, 2))
    step.engine.close()


def test_release_8_6_widens_its_integers_and_shares_its_profile(tmp_path: Path) -> None:
    world = World(tmp_path, painted_detector(), version="8.6.2")
    images = np.random.default_rng(0).integers(0, 255, (3, 64, 96, 3)).astype(np.uint8)
    for count in (1, 2, 3):
        assert world.assert_alike({"images": images[:count]})["classes"].dtype == np.int64


def test_an_output_whose_size_depends_on_the_data_is_refused(tmp_path: Path) -> None:
    g = Graph()
    g.add("NonZero", "x", name="places")
    model = g.model({"x": (1, ("N", 4))}, {"places": (7, (2, "found"))})
    with pytest.raises(UnsupportedModelError, match="output 'places' depends on its data"):
        World(tmp_path, model)


def test_warming_up_leaves_the_usual_shape_captured(tmp_path: Path) -> None:
    world = World(tmp_path, painted_detector())
    world.engine.warm_up()
    assert world.device.captures == 1
    world.assert_alike({"images": np.full((1, 64, 96, 3), 9, np.uint8)})
    assert world.device.captures == 1


def test_the_inspectors_words_become_types(step: World) -> None:
    half = {"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}
    step.module.inspected = [
        {"LayerType": "Convolution", "Outputs": [half]},
        {"LayerType": "Convolution", "Outputs": [{"Format/Datatype": "Half"}]},
        {"LayerType": "SoftMax", "Outputs": [{"Format/Datatype": "Float"}]},
        "a name alone, as with less verbosity",
    ]
    plan = LoadedPlan(step.flavour, step.prepared.onnx)
    assert plan.layers() == {"convolution": {"fp16": 2}, "softmax": {"fp32": 1}}
    with pytest.raises(EngineFailure, match=r"cannot load the engine: .*the plan is empty"):
        LoadedPlan(step.flavour, b"")


def test_a_step_without_rows_of_state_leaves_the_state_on_the_device(step: World) -> None:
    """The tracker asks for the pairs' half of the model and for the tracks' half in turn."""
    first = step_inputs(5, 3)
    found = step.assert_alike(first)
    for seed in range(1, 5):
        step.assert_alike(step_inputs(0, 7, seed))
        fresh = step_inputs(5, 0, seed)
        uploads = step.device.uploads
        given = {"h": found["h_next"], "c": found["c_next"], "x": fresh["x"], "pairs": fresh["pairs"]}
        found = step.assert_alike(given)
        assert step.device.uploads == uploads + 2  # x and pairs
