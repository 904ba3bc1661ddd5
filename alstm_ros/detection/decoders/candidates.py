"""Our own layout: decoded in the graph, the best of all cells already chosen."""

from __future__ import annotations

from typing import ClassVar

from alstm_ros.detection.decoders.layout import Outputs, Proposals, Sample, Size
from alstm_ros.detection.preprocess import Preprocess


class OwnDecoder:
    """Boxes, scores, classes and cell features as they come."""

    expects: ClassVar[str] = (
        "boxes (float32 ?x?x4, xyxy), scores (float32 ?x?), classes (int64 ?x?), "
        "and, where the model offers them, features (float32 ?x?x?): decoded in the graph"
    )
    preprocess: ClassVar[Preprocess] = Preprocess()

    single: bool = False

    @classmethod
    def evidence(cls, sample: Sample) -> str:
        """Outputs of these names, ranks and types."""
        wanted = {"boxes": (3, "float32"), "scores": (2, "float32"), "classes": (2, "int64")}
        if "features" in sample.outputs:
            wanted["features"] = (3, "float32")
        fits = all(
            name in sample.outputs and (len(sample.outputs[name].shape), str(sample.outputs[name].dtype)) == want
            for name, want in wanted.items()
        )
        return f"its outputs {', '.join(wanted)}" if fits else ""

    def __init__(self, sample: Sample) -> None:
        self._features = "features" in sample.outputs

    @property
    def classes(self) -> int:
        """Not shown by the outputs."""
        return 0

    def __call__(self, outputs: Outputs, _size: Size, _threshold: float, /) -> list[Proposals]:
        """The rows of each image."""
        features = outputs["features"] if self._features else [None] * len(outputs["boxes"])
        parts = zip(outputs["boxes"], outputs["scores"], outputs["classes"], features, strict=True)
        return [Proposals(*part) for part in parts]
