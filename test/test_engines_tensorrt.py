"""TensorRT's builds: every shipped model is parsed and built for real, since TensorRT-RTX needs no GPU for that."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulated_gpu import ICudaEngine, IExecutionContext, SimulatedDevice, SimulatedTensorRT
from tiny_models import FEATURES, Graph, painted_detector, recurrent_step

from alstm_ros.engines import tensorrt_api, tensorrt_build, tensorrt_graph
from alstm_ros.engines.failures import CancelledError, DeviceLostError, UnsupportedModelError
from alstm_ros.engines.loaded_plan import LoadedPlan
from alstm_ros.engines.profiles import ShapeProfile, make_profile
from alstm_ros.engines.tensorrt_api import Flavour
from alstm_ros.errors import DependencyError

MODELS = Path(__file__).resolve().parents[1] / "alstm_ros" / "models"
SHIPPED = sorted(MODELS.glob("*.onnx"))
needs_rtx = pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None, reason="needs tensorrt-rtx-cu13, which `make env` installs"
)


def rtx() -> Flavour:
    return tensorrt_api.find("tensorrt_rtx")


def teller(told: list[float]) -> Callable[[float], bool]:
    def tell(done: float) -> bool:
        told.append(done)
        return True

    return tell


def shape_profile(model: tensorrt_graph.PreparedModel, **sizes: int) -> ShapeProfile:
    return make_profile(model.inputs, model.outputs, model.metadata, 4, sizes)


# --- Built for real ---------------------------------------------------------------------------------------------------


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_model_builds_with_free_batch_and_rows(path: Path, precision: str) -> None:
    model = tensorrt_graph.prepare(tensorrt_graph.read(path), precision)
    profile = shape_profile(model)
    told: list[float] = []
    plan = tensorrt_build.build_engine(rtx(), model, profile, (8, 6), teller(told))
    assert len(plan.data) > 100_000
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert any(profile.shape(name, "least") != profile.shape(name, "most") for name in model.inputs)
    assert {kind for group in ("convolution", "matrix_multiply") for kind in plan.layers.get(group, {})} == {precision}
    for kept in ("softmax", "topk"):
        assert set(plan.layers.get(kept, {"fp32": 0})) == {"fp32"}


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", ["yolox_nano_dyn", "nanodet_m"])
def test_third_party_models_build(shared: Path, name: str, precision: str) -> None:
    model = tensorrt_graph.prepare(tensorrt_graph.read(shared / "models" / f"{name}.onnx"), precision)
    plan = tensorrt_build.build_engine(rtx(), model, shape_profile(model, h=320, w=416), (8, 6))
    assert set(plan.layers["convolution"]) == {precision}


@needs_rtx
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_recurrent_step_builds_with_its_state_in_fp32(precision: str) -> None:
    model = tensorrt_graph.prepare(recurrent_step(), precision)
    plan = tensorrt_build.build_engine(rtx(), model, shape_profile(model), (8, 9))
    assert set(plan.layers["matrix_multiply"]) == {precision}
    assert plan.layers["activation"]["fp32"] >= 7  # three gates, two tanh, two scores


@needs_rtx
def test_a_gpu_that_this_release_does_not_know_is_named() -> None:
    model = tensorrt_graph.prepare(recurrent_step(), "fp32")
    with pytest.raises(UnsupportedModelError, match=r"compute capability 8\.7; it offers SM120, .*SM86"):
        tensorrt_build.build_engine(rtx(), model, shape_profile(model), (8, 7))


@needs_rtx
def test_a_build_can_be_stopped() -> None:
    model = tensorrt_graph.prepare(painted_detector(), "fp32")
    with pytest.raises(CancelledError):
        tensorrt_build.build_engine(rtx(), model, shape_profile(model), (8, 6), lambda done: done < 0.01)


@needs_rtx
def test_an_operation_that_tensorrt_does_not_know_is_named() -> None:
    g = Graph()
    g.add("Det", "x", name="y")
    model = g.model({"x": (1, ("N", 4, 4))}, {"y": (1, ("N",))})
    prepared = tensorrt_graph.prepare(model, "fp32")
    with pytest.raises(UnsupportedModelError, match=r"TensorRT-RTX \d.* cannot parse the model: .*Det"):
        tensorrt_build.build_engine(rtx(), prepared, shape_profile(prepared), (8, 6))


@needs_rtx
@pytest.mark.skipif(tensorrt_api.driver_present(), reason="there is a driver here")
def test_without_a_gpu_loading_says_so() -> None:
    model = tensorrt_graph.prepare(recurrent_step(), "fp32")
    plan = tensorrt_build.build_engine(rtx(), model, shape_profile(model), (8, 6))
    with pytest.raises(DeviceLostError, match=r"TensorRT cannot load the engine: the GPU reports an error .*driver"):
        LoadedPlan(rtx(), plan.data)


@needs_rtx
def test_what_the_simulation_offers_exists_under_that_name() -> None:
    module = rtx().module
    for simulated, real in ((ICudaEngine, module.ICudaEngine), (IExecutionContext, module.IExecutionContext)):
        names = {name for name in vars(simulated) if not name.startswith("_")}
        assert names
        assert names <= set(dir(real))


def test_no_tensorrt_is_a_sentence() -> None:
    with pytest.raises(DependencyError, match=r"JetPack .*pip install tensorrt-rtx-cu13.*Tried no_such_tensorrt:"):
        tensorrt_api.find("no_such_tensorrt")


# --- TensorRT 8.6's builder, which knows neither strong typing nor progress monitors (simulated) ----------------------


class Release86(SimulatedTensorRT):
    """Records what `build` asks of it."""

    def __init__(self) -> None:
        super().__init__(SimulatedDevice(), "8.6.2")
        self.flags: set[str] = set()
        self.data: bytes = b""
        self.typed: list[Any] = []
        self.float32, self.float16 = "DataType.FLOAT", "DataType.HALF"

    class NetworkDefinitionCreationFlag:
        EXPLICIT_BATCH = 0

    class BuilderFlag:
        FP16, TF32, PREFER_PRECISION_CONSTRAINTS = "FP16", "TF32", "PREFER"

    class PreviewFeature:
        PROFILE_SHARING_0806 = "sharing"

    def Builder(self, logger: Any) -> Any:  # noqa: N802  # TensorRT's name
        self._logger = logger
        return self

    def OnnxParser(self, network: Any, logger: Any) -> Any:  # noqa: N802  # TensorRT's name
        assert network is self
        assert logger is self._logger
        return self

    def create_network(self, flags: int) -> Any:
        assert flags == 1
        return self

    def parse(self, data: bytes) -> bool:
        self.data = data
        return True

    num_inputs, num_layers = 1, 2

    def get_input(self, _: int) -> Any:
        return type("Tensor", (), {"name": "x"})

    def get_layer(self, index: int) -> Any:
        kind = [self.float16, self.float32][index]
        typed = self.typed

        class Layer:
            type, num_outputs, precision = "LayerType.CONVOLUTION", 1, None

            def get_output(self, _: int) -> Any:
                return type("Tensor", (), {"dtype": kind})

            def set_output_type(self, place: int, dtype: Any) -> None:
                typed.append((place, dtype, self.precision))

        return Layer()

    def create_builder_config(self) -> Any:
        return self

    create_optimization_profile = create_builder_config

    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        assert (name, shapes) == ("x", ((1, FEATURES), (32, FEATURES), (512, FEATURES)))

    def add_optimization_profile(self, profile: Any) -> int:
        assert profile is self
        return 0

    def set_flag(self, flag: str) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: str) -> None:
        self.flags.add(f"no {flag}")

    def set_preview_feature(self, feature: str, on: bool) -> None:  # noqa: FBT001  # TensorRT's order
        self.flags.add(f"{feature} {on}")

    def build_serialized_network(self, network: object, config: object) -> bytes:
        assert network is config is self
        return self.data


@pytest.mark.parametrize(
    ("precision", "flags", "layers"),
    [
        ("fp16", {"FP16", "PREFER", "sharing True"}, ["DataType.HALF", "DataType.FLOAT"]),
        ("fp32", {"no TF32", "sharing True"}, []),
    ],
)
def test_release_8_6_gets_its_flags_and_each_layer_its_type(precision: str, flags: set[str], layers: list[str]) -> None:
    module = Release86()
    flavour = Flavour("tensorrt", "8.6.2", module, tensorrt_api._logger(module))
    prepared = tensorrt_graph.prepare(recurrent_step(), precision)
    told: list[float] = []
    plan = tensorrt_build.build_engine(flavour, prepared, shape_profile(prepared), progress=teller(told))
    assert plan.data == prepared.onnx
    assert module.flags == flags
    assert module.typed == [(0, kind, kind) for kind in layers]
    assert told == [0.0, 1.0]
