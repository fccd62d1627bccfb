"""The network's operations that differ with the hardware: convolutions, bias with ReLU, pooling, loops over rows.

Each module has a form for any accelerator and one for a single CPU device; `semcolor_jax.backend` says which is taken.
"""
