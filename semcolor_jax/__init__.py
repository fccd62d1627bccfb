"""Image colorization from scene context and pixel-wise segmentation (Nguyen-Quynh et al., IEEE Access 2020)."""

__version__ = "0.1.0"
