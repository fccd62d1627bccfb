"""Draws the learning rate of both stages over a simulated run: experiments/results/learning_rate.png.

python experiments/learning_rate.py

The validation loss of the simulated run falls for ten epochs and then stays constant, so that the plateau fires every
five epochs until stage 2 begins. Nothing is trained: the optimizer of the default config is fed these losses.
"""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image, ImageDraw, ImageFont

from semcolor_jax.config import default
from semcolor_jax.photos.files import write_image
from semcolor_jax.training.optimizer import build_optimizer, observe_validation, total_steps

STEPS_PER_EPOCH = 20
RESULT = Path(__file__).parent / "results" / "learning_rate.png"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 900, 360, 70, 40, 20


def simulate() -> tuple[np.ndarray, int]:
    """Returns the learning rate of every update of the default config, and how many updates stage 1 has."""
    config = default()
    optimizer = build_optimizer(config, steps_per_epoch=STEPS_PER_EPOCH)
    params = {"w": jnp.zeros(1)}

    def step(state, _):
        _, state = optimizer.update({"w": jnp.ones(1)}, state, params, value=jnp.zeros(()))
        return state, optax.tree.get(state, "learning_rate")

    def epoch(state, loss):
        state, rates = jax.lax.scan(step, state, length=STEPS_PER_EPOCH)
        return observe_validation(state, loss, schedule=config.schedule), rates

    epochs = np.arange(total_steps(config, steps_per_epoch=STEPS_PER_EPOCH) // STEPS_PER_EPOCH)
    losses = jnp.asarray(np.maximum(2.0, 5.0 - 0.3 * epochs), jnp.float32)
    _, rates = jax.lax.scan(epoch, optimizer.init(params), losses)
    return np.asarray(rates).ravel(), int(config.schedule.stage1_epochs * STEPS_PER_EPOCH)


def draw(rates: np.ndarray, stage1_steps: int) -> np.ndarray:
    """Draws the curve over epochs, with the paper's bounds as lines."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=13)

    def place(step: float, rate: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - 20) * step / len(rates)
        return x, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * rate / 8.4e-4

    for rate in (1e-5, 4e-4, 8e-4):
        pen.line([place(0, rate), place(len(rates), rate)], "#dddddd")
        pen.text((LEFT - 8, place(0, rate)[1]), f"{rate:g}", "black", font, anchor="rm")
    for epoch in range(0, len(rates) // STEPS_PER_EPOCH + 1, 5):
        pen.text((place(epoch * STEPS_PER_EPOCH, 0)[0], HEIGHT - BOTTOM + 8), str(epoch), "black", font, anchor="mt")
    pen.line([place(stage1_steps, 0), place(stage1_steps, 8.4e-4)], "#bbbbbb")
    pen.text((WIDTH / 2, HEIGHT - 4), "epoch (grey line: stage 2 begins)", "black", font, anchor="mb")
    pen.line([place(step, float(rate)) for step, rate in enumerate(rates)], "#4271ae", width=2)
    return np.asarray(picture)


if __name__ == "__main__":
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    write_image(RESULT, draw(*simulate()))
    print(RESULT)
