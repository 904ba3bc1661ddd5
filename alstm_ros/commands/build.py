"""`alstm build`: TensorRT engines ahead of time, so that the first start need not wait for them."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from alstm_ros import detection
from alstm_ros.association.learned import associator as lstm
from alstm_ros.commands.common import add_config, config_from, print_json
from alstm_ros.config import Config
from alstm_ros.engines import tensorrt_api
from alstm_ros.engines.accelerated import Built, Job, Target
from alstm_ros.engines.cache import open_cache
from alstm_ros.engines.device import DeviceInfo
from alstm_ros.engines.failures import EngineFailure
from alstm_ros.engines.gpu import open_gpu
from alstm_ros.engines.onnxruntime_engine import OnnxRuntimeEngine
from alstm_ros.engines.status import format_layers
from alstm_ros.engines.tensorrt_api import Flavour
from alstm_ros.engines.trial import Trial
from alstm_ros.errors import ConfigError, DependencyError, ModelError
from alstm_ros.parameter_text import user_path

MODELS = detection.MODELS | {"association": lstm.MODELS["default"]}
"""Names that may be given instead of a path."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds this command's options."""
    parser.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="an ONNX file, or the name of one that comes with the package; without any, the config's detector",
    )
    parser.add_argument(
        "--capability",
        metavar="8.6",
        help="compute capability to build for on a machine without that GPU; TensorRT-RTX only",
    )
    parser.add_argument(
        "--again",
        "--anew",
        action="store_true",
        help="build even what the cache has, and what an earlier build died of",
    )
    parser.add_argument("--json", action="store_true", help="print the report as one JSON object")
    add_config(parser, model=False)


def run(args: argparse.Namespace) -> int:
    """Builds.

    Raises:
        DependencyError: no TensorRT is installed.
        ConfigError: the capability is none.
        ModelError: there is no such model.
        EngineFailure: the GPU, the build or the model is to blame.
    """
    config = config_from(args)
    flavour = tensorrt_api.find()
    cache = open_cache(config.engine.cache_dir)
    device, capability = _target(args.capability, flavour, config)
    target = Target(flavour, cache, capability) if device is None else Target.here(flavour, cache, device)
    reports = []
    for name in args.models or [config.detector.model]:
        report = _build(name, config, target, anew=args.again)
        reports.append(report)
        sys.stderr.write(_text(report))
    if args.json:
        print_json({"engines": reports, "temporary": cache.temporary})
    return 0


def _target(asked: str | None, flavour: Flavour, config: Config) -> tuple[DeviceInfo | None, tuple[int, int]]:
    """The GPU here, None where the engine is for another machine; and the compute capability to build for.

    Raises:
        ConfigError: what is asked for is no capability, or this TensorRT builds only for the GPU here.
        EngineFailure: there is no GPU and none is named.
    """
    if asked is not None:
        match = re.fullmatch(r"(\d+)\.(\d)", asked)
        if match is None:
            raise ConfigError(f"--capability is {asked!r}; it must look like 8.6.")
        if not flavour.portable:
            raise ConfigError(
                f"TensorRT {flavour.version} builds only for the GPU that it runs on; leave out --capability, "
                "or install TensorRT-RTX."
            )
        return None, (int(match[1]), int(match[2]))
    try:
        device = open_gpu(config.engine.device)
    except (EngineFailure, DependencyError) as error:
        if flavour.portable:
            raise type(error)(f"{error} To build for another machine's GPU, give --capability, such as 8.6.") from error
        raise
    info = device.info
    device.close()
    return info, info.capability


def _build(name: str, config: Config, target: Target, *, anew: bool) -> dict[str, Any]:
    """Builds one model in a process of its own, which tries it where its GPU is here, and reports."""
    path = MODELS.get(name) or user_path(name)
    if not path.is_file():
        raise ModelError(f"There is no model file {path}; known names are {', '.join(sorted(MODELS))}.")
    asked = {"height": config.detector.height, "width": config.detector.width}
    reference = OnnxRuntimeEngine(path, config.engine)
    sizes = {axis: size for axis, size in asked.items() if size}
    trial = Trial(Job(path, config.engine, reference.inputs, reference.outputs, sizes, (target.flavour.name,)))
    start = time.monotonic()
    with tqdm(desc=path.name, total=1.0, bar_format="{desc}: {percentage:3.0f} % |{bar}|", leave=False, delay=1) as bar:
        built = trial.build(target, _drawing(bar), anew=anew)
    seconds = time.monotonic() - start
    report = _report(path, built, target, seconds)
    if target.gpu:
        start = time.monotonic()
        engine = trial.start(lambda _: True)
        report |= {"gpu": target.gpu, "load_seconds": round(time.monotonic() - start, 3)}
        report["layers"] = engine.status.layers or report["layers"]
        engine.close()
    reference.close()
    return report


def _report(path: Path, built: Built, target: Target, seconds: float) -> dict[str, Any]:
    return {
        "model": str(path),
        "engine": str(target.cache.path(built.key)),
        "from_cache": built.cached,
        "bytes": len(built.data),
        "seconds": round(seconds, 3),
        "shapes": built.profile.key,
        "layers": {group: dict(counts) for group, counts in built.layers.items()},
        "key": asdict(built.key) | {"runtime": target.flavour.name},
    }


def _text(report: Mapping[str, Any]) -> str:
    """The report for people."""
    key = report["key"]
    how = "was built before" if report["from_cache"] else f"built in {report['seconds']:.1f} s"
    lines = [
        f"{Path(report['model']).name}: {how}, {report['bytes'] / 1e6:.1f} MB",
        f"  {key['runtime']} {key['version']}, {key['precision']}, compute capability {key['capability']}"
        + (f", {report['gpu']}, loaded and run in {report['load_seconds']:.1f} s" if "gpu" in report else ""),
        f"  shapes {report['shapes']}",
        f"  layers {format_layers(report['layers'])}",
        f"  engine {report['engine']}",
    ]
    return "\n".join(lines) + "\n"


def _drawing(bar: tqdm) -> Callable[[float], bool]:
    """Takes the share of a build that is done, from TensorRT's own threads, and always says to go on."""

    def draw(share: float) -> bool:
        bar.update(share - bar.n)
        return True

    return draw
