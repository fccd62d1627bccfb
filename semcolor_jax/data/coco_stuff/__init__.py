"""Data set COCO-Stuff (Caesar, Uijlings and Ferrari 2018): 118,287 training and 5,000 validation photos, 182 classes.

Importing this package registers the TFDS builder `coco_stuff`.
"""

from semcolor_jax.data.coco_stuff.coco_stuff_dataset_builder import Builder, CocoStuffConfig
from semcolor_jax.data.coco_stuff.prepared import find_prepared, how_to_prepare, prepare
from semcolor_jax.data.coco_stuff.source import CocoStuffSource

__all__ = ["Builder", "CocoStuffConfig", "CocoStuffSource", "find_prepared", "how_to_prepare", "prepare"]
