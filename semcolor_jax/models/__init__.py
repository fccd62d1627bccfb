"""The paper's network: lightness in; ab, colour distribution, segmentation and scene out."""

from semcolor_jax.models.predictor import Predictor
from semcolor_jax.models.semcolor import Features, Predictions, SemColorNet
from semcolor_jax.models.vgg16 import imagenet_vgg16_params, load_pretrained

__all__ = [
    "Features",
    "Predictions",
    "Predictor",
    "SemColorNet",
    "imagenet_vgg16_params",
    "load_pretrained",
]
