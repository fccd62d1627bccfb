import contextlib
import os

# Tests neither use nor fill the user's cache of compiled programs.
os.environ["SEMCOLOR_COMPILE_CACHE"] = "off"

# Where TensorFlow is loaded before torchvision, loading torchvision ends the process (tensorflow-cpu 2.21, torchvision
# 0.29). Only environments of the parity tests have it.
with contextlib.suppress(ImportError, RuntimeError):
    import torchvision  # noqa: F401
