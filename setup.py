"""Adds `configs/` to the wheel as `semcolor_jax.configs`, which pyproject.toml alone cannot; the rest stands there."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["semcolor_jax*"]), "semcolor_jax.configs"],
    package_dir={"semcolor_jax.configs": "configs"},
)
