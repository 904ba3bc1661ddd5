"""Small networks with the heads of well-known detectors, whose answer is known: `OBJECTS`, whatever the image.

Trunk and heads are real convolutions on the image; beside them the heads hold a map of what they have to say, worked
out backwards from the boxes with the formula that each family publishes. So the files have the families' true layouts,
and the boxes that must come out of them are known without any decoder.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import torch
from foreign_heads import CLASSES, HEIGHT, NEVER, OBJECTS, WIDTH, Said, Trunk, blank, logit, placed, spread
from torch import Tensor, nn


class YoloX(nn.Module):
    def __init__(self, *, decoded: bool = False) -> None:
        super().__init__()
        self.trunk, self.decoded = Trunk(), decoded
        heads = []
        for stride in (8, 16, 32):
            box, scores = blank(4, stride), blank(1 + CLASSES, stride, NEVER)
            for kind, score, (x0, y0, x1, y1), row, column in placed(stride):
                box[:, row, column] = (
                    (x0 + x1) / 2 / stride - column, (y0 + y1) / 2 / stride - row,
                    np.log((x1 - x0) / stride), np.log((y1 - y0) / stride),
                )  # fmt: skip
                scores[0, row, column], scores[1 + kind, row, column] = logit(0.95), logit(score / 0.95)
            heads.append(nn.ModuleList([Said(12, box), Said(12, scores)]))
        self.heads = nn.ModuleList(heads)

    def forward(self, images: Tensor) -> Tensor:
        rows = []
        for x, head, stride in zip(self.trunk(images), self.heads, (8, 16, 32), strict=True):
            box, scores = (part(x) for part in head)  # type: ignore[attr-defined]
            if self.decoded:
                y, c = torch.meshgrid(torch.arange(box.shape[2]), torch.arange(box.shape[3]), indexing="ij")
                cells = torch.stack([c, y])[None]
                box = torch.cat([(box[:, :2] + cells) * stride, box[:, 2:].exp() * stride], 1)
            rows.append(torch.cat([box, scores.sigmoid()], 1).flatten(2))
        return torch.cat(rows, 2).permute(0, 2, 1)


class YoloV5(nn.Module):
    """Three anchors a cell, kind by kind; the second says it."""

    ANCHORS = (8.0, 24.0, 60.0)

    def __init__(self) -> None:
        super().__init__()
        self.trunk, heads = Trunk(), []
        for stride in (8, 16, 32):
            said = blank(3 * (5 + CLASSES), stride, NEVER)
            for kind, score, (x0, y0, x1, y1), row, column in placed(stride):
                one = said[5 + CLASSES : 2 * (5 + CLASSES)]
                x, y = (x0 + x1) / 2 / stride - column, (y0 + y1) / 2 / stride - row
                sides = [np.sqrt(side / self.ANCHORS[1]) / 2 for side in (x1 - x0, y1 - y0)]
                one[:5, row, column] = [logit(v) for v in ((x + 0.5) / 2, (y + 0.5) / 2, *sides, 0.95)]
                one[5 + kind, row, column] = logit(score / 0.95)
            heads.append(Said(12, said))
        self.heads = nn.ModuleList(heads)

    def forward(self, images: Tensor) -> Tensor:
        rows = []
        for x, head, stride in zip(self.trunk(images), self.heads, (8, 16, 32), strict=True):
            out = head(x)
            b, _, h, w = out.shape
            out = out.view(b, 3, 5 + CLASSES, h, w).permute(0, 1, 3, 4, 2).sigmoid()  # (B, 3, h, w, 5 + C)
            y, c = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            xy = (out[..., :2] * 2 - 0.5 + torch.stack([c, y], -1)) * stride
            wh = (out[..., 2:4] * 2) ** 2 * torch.tensor(self.ANCHORS)[None, :, None, None, None]
            rows.append(torch.cat([xy, wh, out[..., 4:]], -1).reshape(b, -1, 5 + CLASSES))
        return torch.cat(rows, 1)


class YoloV8(nn.Module):
    """Distances of the sides as distributions over 16 bins, decoded in the graph."""

    def __init__(self, *, masks: bool = False, chosen: int = 0) -> None:
        super().__init__()
        self.trunk, self.masks, self.chosen = Trunk(), masks, chosen
        heads = []
        for stride in (8, 16, 32):
            bins, scores = blank(64, stride), blank(CLASSES, stride, NEVER)
            for kind, score, (x0, y0, x1, y1), row, column in placed(stride):
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                sides = np.array([x - x0, y - y0, x1 - x, y1 - y]) / stride
                bins[:, row, column] = np.concatenate([spread(side, 16) for side in sides])
                scores[kind, row, column] = logit(score)
            heads.append(nn.ModuleList([Said(12, bins), Said(12, scores)]))
        self.heads = nn.ModuleList(heads)
        self.coefficients = nn.ModuleList([nn.Conv2d(12, 5, 1) for _ in heads])
        self.proto = nn.Conv2d(12, 5, 1)

    def forward(self, images: Tensor) -> Any:
        columns, extra, maps = [], [], self.trunk(images)
        for x, head, more, stride in zip(maps, self.heads, self.coefficients, (8, 16, 32), strict=True):
            bins, scores = (part(x) for part in head)  # type: ignore[attr-defined]
            b, _, h, w = bins.shape
            weights = bins.view(b, 4, 16, h * w).softmax(2)
            sides = (weights * torch.arange(16.0)[None, None, :, None]).sum(2)  # (B, 4, h * w)
            y, c = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            points = torch.stack([c.flatten(), y.flatten()])[None].float() + 0.5
            low, high = points - sides[:, :2], points + sides[:, 2:]
            columns.append(
                torch.cat([(low + high) / 2 * stride, (high - low) * stride, scores.flatten(2).sigmoid()], 1)
            )
            extra.append(more(x).flatten(2))
        out = torch.cat(columns, 2)
        if self.chosen:
            top, kind = out[:, 4:].max(1)
            best, rows = top.topk(self.chosen, 1)
            boxes = out[:, :4].transpose(1, 2).gather(1, rows[..., None].expand(-1, -1, 4))
            half = boxes[..., 2:] / 2
            corners = [boxes[..., :2] - half, boxes[..., :2] + half]
            return torch.cat([*corners, best[..., None], kind.gather(1, rows)[..., None].float()], -1)
        if self.masks:
            return torch.cat([out, torch.cat(extra, 2)], 1), self.proto(maps[0])
        return out


class NanoDet(nn.Module):
    def __init__(self, *, plus: bool = False) -> None:
        super().__init__()
        strides = (8, 16, 32, 64) if plus else (8, 16, 32)
        self.trunk, self.plus, heads = Trunk(len(strides)), plus, []
        for stride in strides:
            said = np.concatenate([blank(CLASSES, stride, NEVER), blank(32, stride)])
            for kind, score, (x0, y0, x1, y1), row, column in placed(stride):
                x, y = ((n + (0.0 if plus else 0.5)) * stride for n in (column, row))
                sides = np.array([x - x0, y - y0, x1 - x, y1 - y]) / stride
                said[kind, row, column] = logit(score)
                said[CLASSES:, row, column] = np.concatenate([spread(side, 8) for side in sides])
            heads.append(Said(12, said))
        self.heads = nn.ModuleList(heads)

    def forward(self, images: Tensor) -> Any:
        outs = [head(x).flatten(2).permute(0, 2, 1) for x, head in zip(self.trunk(images), self.heads, strict=True)]
        if self.plus:
            return torch.cat(outs, 1)
        return (*[out[..., :CLASSES].sigmoid() for out in outs], *[out[..., CLASSES:] for out in outs])


class Detr(nn.Module):
    """Queries that look at the image through a pooled map; the last class is for nothing where `softmax`."""

    def __init__(self, *, softmax: bool) -> None:
        super().__init__()
        queries, wide = 20, 16
        self.trunk, self.seen = Trunk(), nn.Linear(12, wide)
        self.embedding = nn.Parameter(torch.randn(queries, wide))
        self.kind, self.box = nn.Linear(wide, CLASSES + softmax), nn.Linear(wide, 4)
        logits = np.full((queries, CLASSES + softmax), 0.0 if softmax else NEVER)
        boxes = np.zeros((queries, 4))
        if softmax:
            logits[:, :-1] = -9.0
        for row, (kind, score, (x0, y0, x1, y1), _) in enumerate(OBJECTS):
            logits[4 * row, kind] = logit(score)  # and 0 for nothing, where there is such a class
            parts = (x0 + x1) / 2 / WIDTH, (y0 + y1) / 2 / HEIGHT, (x1 - x0) / WIDTH, (y1 - y0) / HEIGHT
            boxes[4 * row] = [logit(part) for part in parts]
        for name, said in (("logits", logits), ("boxes", boxes)):
            self.register_buffer(name, torch.tensor(said[None], dtype=torch.float32))
        for layer in (self.kind, self.box):
            nn.init.normal_(layer.weight, std=1e-6)
            nn.init.zeros_(layer.bias)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = self.seen(self.trunk(images)[-1].mean((2, 3)))[:, None] + self.embedding[None]
        return self.kind(x) + self.get_buffer("logits"), (self.box(x) + self.get_buffer("boxes")).sigmoid()


class Ssd(nn.Module):
    """Heads as torchvision's SSD has them: three anchors a cell on two maps, given out as a third tensor."""

    SIDES = ((30.0, 30.0), (40.0, 20.0), (20.0, 40.0))

    def __init__(self) -> None:
        super().__init__()
        self.trunk, heads, anchors = Trunk(2), [], []
        for stride in (8, 16):
            scores, moves = blank(3 * (1 + CLASSES), stride, -9.0), blank(12, stride)
            scores[:: 1 + CLASSES] = 0
            h, w = scores.shape[1:]
            for row in range(h):
                for column in range(w):
                    for width, height in self.SIDES:
                        x, y = (column + 0.5) * stride, (row + 0.5) * stride
                        anchors.append((x - width / 2, y - height / 2, x + width / 2, y + height / 2))
            for kind, score, (x0, y0, x1, y1), at in OBJECTS:
                if min(at, 16) != stride:
                    continue
                row, column, a = int((y0 + y1) / 2 // stride), int((x0 + x1) / 2 // stride), 1
                width, height = self.SIDES[a]
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                scores[a * (1 + CLASSES) + 1 + kind, row, column] = logit(score)
                moves[4 * a : 4 * a + 4, row, column] = (
                    10 * ((x0 + x1) / 2 - x) / width, 10 * ((y0 + y1) / 2 - y) / height,
                    5 * np.log((x1 - x0) / width), 5 * np.log((y1 - y0) / height),
                )  # fmt: skip
            heads.append(nn.ModuleList([Said(12, moves), Said(12, scores)]))
        self.heads = nn.ModuleList(heads)
        self.register_buffer("anchors", torch.tensor(anchors))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts: list[list[Tensor]] = [[], []]
        for x, head in zip(self.trunk(images), self.heads, strict=True):
            for part, layer, wide in zip(parts, head, (4, 1 + CLASSES), strict=True):  # type: ignore[call-overload]
                out = layer(x)
                b, _, h, w = out.shape
                part.append(out.view(b, 3, wide, h, w).permute(0, 3, 4, 1, 2).reshape(b, -1, wide))
        return torch.cat(parts[0], 1), torch.cat(parts[1], 1), self.get_buffer("anchors") + 0


class Chosen(nn.Module):
    """Boxes, scores and labels after everything; labels from 1 where there is no batch, as torchvision counts."""

    def __init__(self, *, batched: bool) -> None:
        super().__init__()
        self.trunk, self.batched = Trunk(), batched
        self.register_buffer("boxes", torch.tensor([box for _, _, box, _ in OBJECTS]))
        self.register_buffer("scores", torch.tensor([score for _, score, _, _ in OBJECTS]))
        self.register_buffer("labels", torch.tensor([kind + (not batched) for kind, _, _, _ in OBJECTS]))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        nothing = self.trunk(images)[-1].mean((1, 2, 3)) * 0  # (B,)
        boxes = self.get_buffer("boxes") + nothing[:, None, None]
        scores = self.get_buffer("scores") + nothing[:, None]
        labels = self.get_buffer("labels") + nothing[:, None].long()
        return (boxes, scores, labels) if self.batched else (boxes[0], scores[0], labels[0])


class CenterNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = Trunk(0).stem
        heat, sizes, moves = (blank(n, 4, fill) for n, fill in ((CLASSES, NEVER), (2, 0.0), (2, 0.0)))
        for kind, score, (x0, y0, x1, y1), _ in OBJECTS:
            x, y = (x0 + x1) / 8, (y0 + y1) / 8
            row, column = int(y), int(x)
            heat[kind, row, column], heat[kind, row, column + 1] = logit(score), logit(score - 0.1)  # a slope, one peak
            sizes[:, row, column] = (x1 - x0) / 4, (y1 - y0) / 4
            sizes[:, row, column + 1] = 5, 5
            moves[:, row, column] = x - column, y - row
        self.heads = nn.ModuleList([Said(10, said) for said in (heat, sizes, moves)])

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        x = self.stem(images)
        heat, sizes, moves = (head(x) for head in self.heads)
        return heat.sigmoid(), sizes, moves


FAMILIES: dict[str, tuple[Callable[[], nn.Module], str, list[str]]] = {
    "yolox": (YoloX, "yolox", ["output"]),
    "yolox decoded": (lambda: YoloX(decoded=True), "yolox", ["output"]),
    "yolov5": (YoloV5, "yolov5", ["output0"]),
    "yolov8": (YoloV8, "yolo", ["output0"]),
    "yolov8 masks": (lambda: YoloV8(masks=True), "yolo", ["output0", "output1"]),
    "yolov10": (lambda: YoloV8(chosen=50), "yolo_end2end", ["output0"]),
    "nanodet": (NanoDet, "nanodet", [f"{kind}_{stride}" for kind in ("cls", "dis") for stride in (8, 16, 32)]),
    "nanodet plus": (lambda: NanoDet(plus=True), "nanodet_plus", ["output"]),
    "detr": (lambda: Detr(softmax=True), "detr", ["pred_logits", "pred_boxes"]),
    "rtdetr": (lambda: Detr(softmax=False), "rtdetr", ["logits", "pred_boxes"]),
    "ssd": (Ssd, "ssd", ["bbox_regression", "cls_logits", "anchors"]),
    "torchvision": (lambda: Chosen(batched=False), "boxes", ["boxes", "scores", "labels"]),
    "rtdetr chosen": (lambda: Chosen(batched=True), "boxes", ["labels_", "boxes_", "scores_"]),
    "centernet": (CenterNet, "centernet", ["hm", "wh", "reg"]),
}
"""Name to what makes the network, the decoder that reads it, and its outputs' names."""


def export(family: str, *, batch: bool = False, about: dict[str, str] | None = None) -> onnx.ModelProto:
    """The family's small network as its exporters would write it, for one image or for any number."""
    make, _, names = FAMILIES[family]
    torch.manual_seed(0)
    buffer = io.BytesIO()
    axes = {name: {0: "batch"} for name in ["images", *names] if name != "anchors"} if batch else None
    with torch.no_grad():
        torch.onnx.export(
            make().eval(),
            (torch.zeros(1, 3, HEIGHT, WIDTH),),
            buffer,  # type: ignore[arg-type]  # its annotations name only paths; it writes to both
            input_names=["images"],
            output_names=names,
            dynamic_axes=axes,
            opset_version=13,
            dynamo=False,
        )
    model = onnx.load_model_from_string(buffer.getvalue())
    onnx.helper.set_model_props(model, about or {})
    return model
