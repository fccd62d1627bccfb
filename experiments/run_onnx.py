"""Colours a photo with an exported network, without JAX: onnxruntime, numpy and Pillow are enough.

semcolor model export --model semcolor-v1.1 --format onnx -o semcolor.onnx
python experiments/run_onnx.py semcolor.onnx old.jpg new.png
"""

import sys

import numpy as np
import onnxruntime
from PIL import Image

network, source, target = sys.argv[1:]
session = onnxruntime.InferenceSession(network)
side = int(session.get_modelmeta().custom_metadata_map["side"])

photo = Image.open(source).convert("L")
scale = min(1, side / min(photo.size))
small = photo.resize([max(32, round(length * scale / 32) * 32) for length in photo.size], Image.Resampling.BILINEAR)
light, dim = (np.asarray(image, np.float32) / 255 for image in (photo, small))
y, y_dim = (np.where(x > 0.04045, ((x + 0.055) / 1.055) ** 2.4, x / 12.92) for x in (light, dim))
f, f_dim = (np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116) for x in (y, y_dim))
found = session.run(["ab"], {"lightness": (116 * f_dim - 16).astype(np.float32)[None, :, :, None]})
planes = np.moveaxis(np.asarray(found[0])[0], -1, 0)
a, b = (np.asarray(Image.fromarray(plane).resize(photo.size, Image.Resampling.BILINEAR)) for plane in planes)

fxyz = np.stack([f + a / 500, f, f - b / 200], axis=-1)  # Lab to sRGB; colours outside it are clipped
xyz = np.where(fxyz > 0.2069, fxyz**3, (fxyz - 16 / 116) / 7.787) * [0.95047, 1, 1.08883]
linear = xyz @ np.array([[3.2405, -1.5371, -0.4985], [-0.9693, 1.8760, 0.0416], [0.0556, -0.2040, 1.0572]]).T
linear = np.clip(linear, 0, 1)
rgb = np.where(linear > 0.0031308, 1.055 * linear ** (1 / 2.4) - 0.055, 12.92 * linear)
Image.fromarray(np.uint8(np.round(255 * np.clip(rgb, 0, 1)))).save(target)
