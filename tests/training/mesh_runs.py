"""Trains a tiny network on many devices, for processes of its own: `test_many_devices` starts them.

python mesh_runs.py compare OUT.npz --meshes 1x1 8x1 8x8 [--float64] [--steps N]
python mesh_runs.py train WORKDIR [--stop-after STEP]
Both with [--coordinator HOST:PORT --process-count N --process-id I].

A mesh is the number of devices, and of those that share one copy of the state. OUT.npz has, for each mesh, the
gradients of the first step, the losses of all, and the weights after the last. `train` is the whole loop, with
evaluation and checkpoints; `--stop-after` sends this process SIGTERM.
"""

import argparse
import functools
import os
import signal
import sys
import tempfile
import types
from pathlib import Path
from unittest import mock


def main(argv):
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["compare", "train"])
    parser.add_argument("output", type=Path)
    parser.add_argument("--meshes", nargs="+")
    parser.add_argument("--float64", action="store_true")
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--stop-after", type=int)
    parser.add_argument("--coordinator")
    parser.add_argument("--process-count", type=int)
    parser.add_argument("--process-id", type=int)
    options = parser.parse_args(argv)
    if options.float64:
        os.environ["JAX_ENABLE_X64"] = "1"
    if options.coordinator:
        from semcolor_jax.cli.hosts import join_hosts

        join_hosts(options.coordinator, process_count=options.process_count, process_id=options.process_id)
    if options.mode == "train":
        whole_loop(options.output, stop_after=options.stop_after)
    else:
        compare(options)


def compare(options):
    import jax
    import numpy as np

    from semcolor_jax.training import loop

    network = tiny_network(np.float32)
    if options.float64:
        network = tiny_network(np.float64)
        losses_in_float64()
    arrays = {}
    for mesh in options.meshes:
        devices, fsdp = map(int, mesh.split("x"))
        with with_network(loop, network):
            result = trained(devices, fsdp, steps=options.steps)
        arrays |= {f"{mesh}/{name}": array for name, array in result.items()}
    if jax.process_index() == 0:
        np.savez(options.output, **arrays)


def tiny_config():
    from semcolor_jax.config import default

    config = default()
    config.name = "tiny"
    config.loss.heads = "plain"
    config.data.source, config.data.cache = "embedded", "device"
    config.data.image_size = config.data.short_side = 16
    config.data.batch_size, config.data.prior_images = 8, 4
    config.schedule.kind, config.schedule.steps_total, config.schedule.steps_rate = "steps", 1000, 1e-3
    config.train.loss_samples, config.train.eval_samples, config.train.grid_samples = 0, 1, 1
    config.parallel.fsdp_smallest = 16
    return config


def tiny_network(dtype):
    """All that depends on the batch: BatchNorm, and the paper's four branches; compiled in seconds."""
    import flax.linen as nn
    import jax.numpy as jnp

    from semcolor_jax.models import Predictions

    class Network(nn.Module):
        @nn.compact
        def __call__(self, lightness, *, train=False):
            conv, norm = (
                functools.partial(nn.Conv, param_dtype=dtype),
                functools.partial(nn.BatchNorm, param_dtype=dtype),
            )
            # No bias, which BatchNorm would take away again: its gradient is rounding alone, of which Adam makes steps
            # of the learning rate's size, and with running statistics, which lag behind, the outputs depend on it.
            x = conv(8, (3, 3), use_bias=False)(lightness.astype(dtype) / 50 - 1)
            x = nn.relu(norm(use_running_average=not train)(x))
            return Predictions(
                ab=110 * jnp.tanh(conv(2, (3, 3))(x)),
                color_logits=conv(313, (1, 1))(x),
                seg_logits=conv(183, (1, 1))(x),
                scene_logits=nn.Dense(365, param_dtype=dtype)(x.mean(axis=(1, 2))),
            )

        def init_variables(self, key):
            import jax

            variables = self.init(key, jnp.zeros((1, 8, 8, 1)))
            return jax.tree.map(lambda array: array.astype(dtype), variables)

    return Network()


def with_network(loop, network):
    return mock.patch.multiple(
        loop,
        build_to_run=lambda config: network,
        init_variables=lambda network, key, config: network.init_variables(key),
    )


def losses_in_float64():
    """Has the losses be float64, as the network then is, so that little but float64's rounding is left."""
    import jax.numpy as jnp

    from semcolor_jax.losses import terms

    terms.jnp = types.SimpleNamespace(**(vars(jnp) | {"float32": jnp.float64}))


def trained(devices, fsdp, *, steps):
    """Returns first gradients, losses and last weights of a training on `devices` devices."""
    import jax
    import numpy as np
    from tiny_training import MemorySource

    from semcolor_jax.training import loop, sharding

    config = tiny_config()
    config.parallel.fsdp = fsdp
    present = jax.devices()[:devices]
    with tempfile.TemporaryDirectory() as folder, mock.patch("jax.devices", return_value=present):
        photos = MemorySource(12, side=16)
        setup, state = loop.prepare(config, Path(folder), sources=(photos, photos))
        losses, gradients = [], None
        for batch, _ in zip(loop.training_batches(setup, state), range(steps), strict=False):
            state, metrics = setup.phases[0].step(state, batch)
            losses.append(float(metrics["loss"]))
            gradients = gradients_of(state, setup.mesh) if gradients is None else gradients
        weights = jax.device_get(jax.tree.leaves(sharding.gathered(state.params, setup.mesh)))
    assert setup.mesh.size == len(jax.tree.leaves(state.params)[0].sharding.device_set) == devices
    split = sum(not leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(state))
    return {
        "losses": np.array(losses),
        "weights": np.concatenate([leaf.ravel() for leaf in weights]),
        "gradients": gradients,
        "split": np.array(split),
    }


def gradients_of(state, mesh):
    """The gradients of the first step, from Adam's first moment after it."""
    import jax
    import numpy as np
    import optax

    from semcolor_jax.training import sharding

    moments = optax.tree.get(state.opt_state, "mu")
    leaves = jax.device_get(jax.tree.leaves(sharding.gathered(moments, mesh)))
    return np.concatenate([leaf.ravel() for leaf in leaves]) / 0.1


def whole_loop(workdir, *, stop_after):
    import numpy as np
    from tiny_training import MemorySource

    from semcolor_jax.training import loop

    config = tiny_config()
    config.schedule.steps_total = 12
    config.train.loss_samples, config.train.eval_every_steps, config.train.checkpoint_every_steps = 2, 5, 4
    config.train.log_every_steps = 1
    steps = iter(range(100))
    make = loop.make_train_step

    def make_and_stop(*args, **kwargs):
        step = make(*args, **kwargs)

        def step_and_stop(state, batch):
            if next(steps) == stop_after:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(state, batch)

        return step_and_stop

    photos = MemorySource(12, side=16)
    with (
        with_network(loop, tiny_network(np.float32)),
        mock.patch.object(loop, "make_train_step", make_and_stop),
        mock.patch.object(loop, "make_source", return_value=photos),
    ):
        loop.train(config, workdir)


if __name__ == "__main__":
    main(sys.argv[1:])
