"""experiments/learning_rate.py: the picture shows what the scheme does by default."""

import learning_rate
import numpy as np


def test_the_plateau_fires_in_stage_1_and_stage_2_cycles():
    rates, stage1_steps = learning_rate.simulate()
    stage1, stage2 = rates[:stage1_steps], rates[stage1_steps:]
    reductions = np.flatnonzero(np.diff(stage1)) + 1
    # Epoch 10 is the last better one; 11 to 15 are not, so epoch 16 begins at a lower rate, and so on.
    np.testing.assert_array_equal(reductions, np.arange(16, 40, 5) * learning_rate.STEPS_PER_EPOCH)
    np.testing.assert_allclose(stage1[reductions], 4e-4 * 0.95 ** np.arange(1, 6), rtol=1e-6)
    np.testing.assert_allclose([stage2[0], stage2.max(), stage2.min()], [8e-4, 8e-4, 1e-5], rtol=1e-6)
