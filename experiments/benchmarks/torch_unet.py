"""The paper's network and losses in PyTorch, as the reference of the training benchmark.

Channels first and one module per layer, as PyTorch code usually is. The encoder is `vgg_like`; all branches are on.
The colour target comes in two forms: dense, (B, 313, H, W) float32, as in public implementations, and sparse, the five
nearest bins and their weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
import torch.nn.functional as F  # pyright: ignore[reportMissingImports]
from torch import nn  # pyright: ignore[reportMissingImports]

from semcolor_jax.color.bins import AB_BINS

BINS, CLASSES, SCENES, IGNORE = 313, 183, 365, 255
AB_SCALE = 110.0


class UNet(nn.Module):
    """Lightness (B, 1, H, W) to (colour logits, ab / 110, segmentation logits, scene logits); H, W multiples of 16.

    Args:
      width: filters of the first level.
      scene_features: width of the scene branch's hidden layer.
      keras_padding: pad the convolutions of stride 2 below and to the right, as SAME does, instead of on all sides; to
            compare numbers with ours. It costs a copy, so the benchmark leaves it off.
    """

    def __init__(self, width: int, scene_features: int = 512, *, keras_padding: bool = False):
        super().__init__()
        self.keras_padding = keras_padding
        encoder, norms, decoder = {}, {}, {}
        channels, widths = 1, [width * 2**level for level in range(5)]
        for block, features in enumerate(widths, start=1):
            stride = 1 if block == 5 else 2
            encoder[f"conv{block}_1"] = nn.Conv2d(channels, features, 3, padding=1)
            padding = 0 if keras_padding and stride == 2 else 1
            encoder[f"conv{block}_2"] = nn.Conv2d(features, features, 3, stride=stride, padding=padding)
            norms[f"norm{block}"] = nn.BatchNorm2d(features, eps=1e-3, momentum=0.01)
            channels = features
        for block in (4, 3, 2, 1):
            features = widths[block - 1]
            for index, inputs in enumerate((3 * features, features, features), start=1):
                decoder[f"conv{block}_{index}"] = nn.Conv2d(inputs, features, 3, padding=1)
        self.encoder, self.norms, self.decoder = nn.ModuleDict(encoder), nn.ModuleDict(norms), nn.ModuleDict(decoder)
        self.hidden, self.scene = nn.Linear(channels, scene_features), nn.Linear(scene_features, SCENES)
        self.soft, self.reg, self.seg = (nn.Conv2d(width, features, 1) for features in (BINS, 2, CLASSES))

    def forward(self, lightness: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Predicts from L, 0..100."""
        x, skips = lightness / 50 - 1, []
        for block in range(1, 6):
            x = F.relu(self.encoder[f"conv{block}_1"](x))
            skips.append(x)
            if self.keras_padding and block < 5:
                x = F.pad(x, (0, 1, 0, 1))
            x = self.norms[f"norm{block}"](F.relu(self.encoder[f"conv{block}_2"](x)))
        scene = self.scene(F.relu(self.hidden(x.mean((2, 3)))))
        for block in (4, 3, 2, 1):
            x = torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), skips[block - 1]], 1)
            for index in (1, 2, 3):
                x = F.relu(self.decoder[f"conv{block}_{index}"](x))
        return self.soft(x), torch.tanh(self.reg(x)), self.seg(x), scene


def load_flax(model: UNet, params: Mapping[str, Any]) -> None:
    """Copies the parameters of a `SemColorNet` of the same widths."""

    def copy(layer: Any, source: Mapping[str, Any]) -> None:
        kernel = np.asarray(source["kernel"])
        if isinstance(layer, nn.Conv2d):
            kernel = kernel.reshape(*layer.kernel_size, *kernel.shape[-2:]).transpose(3, 2, 0, 1)
        else:
            kernel = kernel.T
        layer.weight.copy_(torch.tensor(kernel))
        layer.bias.copy_(torch.tensor(np.asarray(source["bias"])))

    with torch.no_grad():
        for part, layers in (("backbone", model.encoder), ("decoder", model.decoder)):
            for name, layer in layers.items():
                copy(layer, params[part][name])
        for name, norm in model.norms.items():
            norm.weight.copy_(torch.tensor(np.asarray(params["backbone"][name]["scale"])))
            norm.bias.copy_(torch.tensor(np.asarray(params["backbone"][name]["bias"])))
        copy(model.hidden, params["scene_head"]["hidden"])
        copy(model.scene, params["scene_head"]["logits"])
        for name in ("soft", "reg", "seg"):
            copy(getattr(model, name), params[f"{name}_head"])


def nearest_bins(ab: torch.Tensor, *, sigma: float = 5.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns the five nearest bins of (B, 2, H, W) and their weights, both (B, 5, H, W): all distances, then top-k."""
    centers = torch.tensor(AB_BINS, dtype=torch.float32)
    indices, weights = [], []
    for photo in ab:  # photo by photo: the distances to 313 bins are as large as a dense target
        distance, index = torch.cdist(photo.flatten(1).T.contiguous(), centers).topk(5, largest=False)
        weight = torch.exp(-distance.square() / (2 * sigma**2))
        indices.append(index.T.reshape(5, *photo.shape[1:]))
        weights.append((weight / weight.sum(1, keepdim=True)).T.reshape(5, *photo.shape[1:]))
    return torch.stack(indices), torch.stack(weights)


def make_batch(batch: Mapping[str, np.ndarray], lab: np.ndarray, *, dense: bool) -> dict[str, torch.Tensor]:
    """Returns the inputs of the losses. `lab` is (B, H, W, 3), CIE units."""
    lab_first = torch.tensor(np.ascontiguousarray(lab.transpose(0, 3, 1, 2)))
    result = {
        "lightness": lab_first[:, :1].contiguous(),
        "ab": lab_first[:, 1:] / AB_SCALE,
        "labels": torch.tensor(batch["labels"]).long(),
        "scene_index": torch.tensor(batch["scene_index"]).long(),
        "scene_prob": torch.tensor(batch["scene_prob"]),
    }
    index, weight = nearest_bins(lab_first[:, 1:])
    if dense:
        target = torch.zeros(len(lab), BINS, *lab.shape[1:3]).scatter_(1, index, weight)
        return {**result, "target": target}
    return {**result, "bins": index, "weights": weight}


def losses(model: UNet, batch: Mapping[str, torch.Tensor], rebalancing: torch.Tensor) -> torch.Tensor:
    """Returns the sum of the four losses."""
    color, ab, seg, scene = model(batch["lightness"])
    if "target" in batch:
        cross_entropy = -(batch["target"] * F.log_softmax(color, 1)).sum(1)
        nearest = batch["target"].argmax(1)
    else:
        chosen = (batch["weights"] * color.gather(1, batch["bins"])).sum(1)
        cross_entropy = torch.logsumexp(color, 1) - chosen
        nearest = batch["bins"][:, 0]
    soft = (rebalancing[nearest] * cross_entropy).mean()
    regression = (ab - batch["ab"]).square().sum(1).mean()
    scenes = -(batch["scene_prob"] * F.log_softmax(scene, 1).gather(1, batch["scene_index"])).sum(1).mean()
    return soft + regression + scenes + dice(seg, batch["labels"])


def dice(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """One minus the mean soft Dice score of the classes present."""
    valid = (labels != IGNORE)[:, None]
    prob = torch.softmax(logits, 1) * valid
    truth = torch.zeros_like(prob).scatter_(1, torch.where(valid[:, 0], labels, 0)[:, None], 1.0) * valid
    size = truth.sum((0, 2, 3))
    score = 2 * (prob * truth).sum((0, 2, 3)) / (size + prob.square().sum((0, 2, 3))).clamp(min=1e-12)
    present = size > 0
    return 1 - (score * present).sum() / present.sum().clamp(min=1)


def make_step(
    model: UNet,
    batch: Mapping[str, torch.Tensor],
    rebalancing: torch.Tensor,
    *,
    compiled: bool,
    autocast: torch.dtype | None = None,
) -> Callable[[], torch.Tensor]:
    """Returns a function that takes one training step on the batch with fused Adam, and returns the loss.

    Args:
      model: on the device of the batch.
      batch: of `make_batch`.
      rebalancing: (313,).
      compiled: whether to use `torch.compile`.
      autocast: compute type of convolutions and products; None: float32.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=4e-4, fused=True)
    evaluate = torch.compile(losses, dynamic=False) if compiled else losses
    model.train()

    def step() -> torch.Tensor:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(rebalancing.device.type, dtype=autocast, enabled=autocast is not None):
            loss = evaluate(model, batch, rebalancing)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
