"""TensorFlow for input pipelines only: quiet, and blind to every accelerator.

TensorFlow would otherwise reserve the memory of the GPUs that JAX computes on. All modules that need
TensorFlow import it from here, so that none can forget.
"""

from __future__ import annotations

import os

# Read once, when TensorFlow's library is loaded. No op here needs oneDNN, which prints at any level.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")

import tensorflow as tf

tf.config.set_visible_devices([], "GPU")

__all__ = ["tf"]
