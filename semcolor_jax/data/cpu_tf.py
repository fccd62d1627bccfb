"""Imports TensorFlow for input pipelines only: quiet, and without access to accelerators.

TensorFlow would otherwise reserve the memory of the GPUs that JAX uses, so all modules import it from here.
"""

from __future__ import annotations

import os

# Read once, when TensorFlow's library is loaded. No op here needs oneDNN, which prints at any level.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf

tf.config.set_visible_devices([], "GPU")

__all__ = ["tf"]
