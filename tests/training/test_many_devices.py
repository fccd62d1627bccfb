"""One training on 1 to 8 devices and on several processes: the same batches, gradients and losses."""

import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from semcolor_jax.checkpoints.training_runs import read_checkpoint
from semcolor_jax.config import default
from semcolor_jax.errors import PREEMPTED, UserError
from semcolor_jax.training import sharding
from semcolor_jax.training.scalars import FILE

ROOT = Path(__file__).parents[2]
RUNS = Path(__file__).with_name("mesh_runs.py")


def start(*arguments, devices=1):
    # Half-hearted optimization: nearly all of the time is the compiler's.
    flags = f"--xla_force_host_platform_device_count={devices} --xla_backend_optimization_level=0"
    environment = os.environ | {
        "XLA_FLAGS": f"{flags} --xla_llvm_disable_expensive_passes=true",
        "JAX_PLATFORMS": "cpu",
        "SEMCOLOR_OPS": "xla",  # what several devices take
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]),
    }
    command = [sys.executable, *map(str, arguments)]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(*processes, code=0):
    outputs = [process.communicate(timeout=1800)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == code, output[-3000:]
    return outputs


def together(count, *arguments, each=()):
    """Starts so many processes that train together; `each` has arguments for one of them, by its number."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    hosts = ("--coordinator", address, "--process-count", count, "--process-id")
    return [start(RUNS, *arguments, *hosts, i, *dict(each).get(i, ())) for i in range(count)]


def assert_same(reference, result, mesh, *, losses, alone="1x1"):
    np.testing.assert_allclose(result[f"{mesh}/gradients"], reference[f"{alone}/gradients"], atol=1e-5, rtol=0)
    expected = reference[f"{alone}/losses"][: len(result[f"{mesh}/losses"])]
    np.testing.assert_allclose(result[f"{mesh}/losses"], expected, rtol=losses, atol=0)
    assert expected[-1] < expected[0]


@pytest.mark.slow
def test_any_mesh_trains_as_one_device_does_in_float64(tmp_path):
    """BatchNorm, dice and rebalancing are of the global batch: else the losses would differ in the first digits."""
    meshes = ("1x1", "2x1", "4x2", "8x8")
    finish(start(RUNS, "compare", tmp_path / "all.npz", "--float64", "--meshes", *meshes, devices=8))
    result = np.load(tmp_path / "all.npz")
    for mesh in meshes[1:]:
        assert_same(result, result, mesh, losses=1e-5)
        np.testing.assert_allclose(result[f"{mesh}/weights"], result["1x1/weights"], atol=1e-5)
        assert (result[f"{mesh}/split"] > 10) == (mesh != "2x1")  # FSDP keeps parameters and moments in parts


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One device in float32, and eight."""
    output = tmp_path_factory.mktemp("alone") / "alone.npz"
    finish(start(RUNS, "compare", output, "--meshes", "1x1", "8x8", devices=8))
    return np.load(output)


@pytest.mark.slow
def test_eight_devices_train_as_one_does_in_float32(alone):
    assert_same(alone, alone, "8x8", losses=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_processes_train_as_one_does(tmp_path, alone, count):
    """Each decodes its own photos into its own device's memory."""
    output = tmp_path / "together.npz"
    finish(*together(count, "compare", output, "--meshes", f"{count}x{count}"))
    assert_same(alone, np.load(output), f"{count}x{count}", losses=1e-3)


@pytest.mark.slow
def test_processes_stop_at_one_step_and_one_device_goes_on(tmp_path):
    """SIGTERM reaches one of two processes; both save and leave with 75, and the checkpoint fits one device."""
    finish(*together(2, "train", tmp_path / "run", each={1: ("--stop-after", 3)}), code=PREEMPTED)
    stopped = read_checkpoint(tmp_path / "run", checkpoint="latest").step
    assert 3 < stopped < 12
    finish(start(RUNS, "train", tmp_path / "run"))
    finish(start(RUNS, "train", tmp_path / "whole"))
    assert read_checkpoint(tmp_path / "run", checkpoint="latest").step == 12
    for line, other in zip(
        *((tmp_path / run / FILE).read_text().splitlines() for run in ("run", "whole")), strict=True
    ):
        for name, value in json.loads(line).items():
            if name not in ("steps_per_second", "host_wait"):
                assert value == pytest.approx(json.loads(other)[name], rel=1e-4), name


@pytest.mark.slow
def test_eight_devices(tmp_path):
    """Checkpoints of eight devices fit one, and the other way round; the cache gives each device its rows."""
    script = textwrap.dedent("""
        import itertools, sys
        from pathlib import Path
        import jax, jax.numpy as jnp, numpy as np, pytest
        from mesh_runs import tiny_config
        from tiny_training import MemorySource
        from semcolor_jax.checkpoints.training_runs import Checkpoints, DataPosition
        from semcolor_jax.data.augmentation import Options, place_keys
        from semcolor_jax.data.device_cache import DeviceCache, cached_batch
        from semcolor_jax.data.sharded_cache import ShardedCache, sharded_batch
        from semcolor_jax.errors import UserError
        from semcolor_jax.training import sharding
        from semcolor_jax.training.state import TrainState

        eight, one = sharding.device_mesh(4), jax.make_mesh((1, 1), ("data", "fsdp"), devices=jax.devices()[:1])
        assert dict(eight.shape) == {"data": 2, "fsdp": 4}
        with pytest.raises(UserError, match="fsdp is 3, but must divide the 8 devices"):
            sharding.device_mesh(3)

        def state_on(mesh, value):
            params = {"kernel": np.full((3, 8, 16), value, np.float32), "bias": np.full(7, value, np.float32)}
            state = TrainState(step=jnp.int32(value), params=params, batch_stats={}, opt_state=(params,))
            return sharding.place(state, sharding.state_split(mesh, state, smallest=16))

        for number, (before, after) in enumerate([(eight, one), (one, eight)]):
            for value, mesh in ((5, before), (0, after)):
                manager = Checkpoints(Path(sys.argv[1]) / str(number))
                if value:
                    saved = state_on(mesh, value)
                    manager.save(saved, DataPosition(step=5, seed=0, batch_size=8, source="memory", samples=8))
                else:
                    found, _ = manager.restore(state_on(mesh, 0))
                manager.close()
            for a, b in zip(jax.tree.leaves(saved), jax.tree.leaves(found), strict=True):
                np.testing.assert_array_equal(a, b)
                assert b.sharding.device_set == set(after.devices.flat)
            assert found.params["kernel"].sharding.spec == state_on(after, 0).params["kernel"].sharding.spec

        class TwoSizes(MemorySource):
            def read(self, index):
                return MemorySource(13, side=16 if index % 3 else 40).read(index)

        config, options = tiny_config(), Options(rotate=10.0, flip=0.5)
        caches = DeviceCache(TwoSizes(13), config), ShardedCache(TwoSizes(13), config, eight)
        for cache in caches:
            cache.fill()
        assert caches[1].layout.bytes < caches[0].layout.bytes / 3
        streams = [cache.batches() for cache in caches]
        for mine, shared in itertools.islice(zip(*streams), 2):
            keys = place_keys(0, mine.places)
            a = jax.jit(cached_batch, static_argnames="options")(mine, keys, options=options)
            b = jax.jit(sharded_batch, static_argnames="options")(shared, keys, options=options)
            assert {len(array.addressable_shards) for array in b.values()} == {8}
            for name, array in a.items():
                np.testing.assert_array_equal(array, b[name])
        print("same")
    """)
    tests = Path(__file__).parent
    script = f"import sys; sys.path.insert(0, {str(tests)!r})\n{script}"
    (output,) = finish(start("-c", script, tmp_path, devices=8))
    assert "same" in output


def test_a_state_is_split_by_its_longest_axis_that_divides_evenly():
    mesh: Any = jax.sharding.AbstractMesh((2, 4), ("data", "fsdp"))
    state = {"kernel": np.zeros((3, 3, 8, 64)), "odd": np.zeros((9, 7)), "small": np.zeros(8)}
    specs = {name: of.spec for name, of in sharding.state_split(mesh, state, smallest=60).items()}
    assert specs["kernel"] == jax.P(None, None, None, "fsdp")
    assert specs["odd"] == specs["small"] == jax.P()


def test_devices_that_cannot_share_are_refused():
    config = default()
    config.data.batch_size = 7
    mesh: Any = jax.sharding.AbstractMesh((2, 4), ("data", "fsdp"))
    with pytest.raises(UserError, match=r"batch_size is 7, but must be a multiple of the 8 devices"):
        sharding.check_batch_size(config, mesh)
    with pytest.raises(UserError, match=r"parallel.fsdp is 5, but must divide"):
        sharding.device_mesh(5)


def test_one_host_agrees_with_itself():
    assert sharding.agreed({"loss": 0.1}) == {"loss": 0.1}
