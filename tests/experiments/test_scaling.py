"""Collectives of compiled programs, counted with the trips of the loops that they stand in."""

import pytest
import scaling

LOOP = """
HloModule jit_f, is_scheduled=true

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%body (arg: (s32[], f32[3])) -> (s32[], f32[3]) {
  %arg = (s32[], f32[3]{0}) parameter(0)
  %i = s32[] get-tuple-element(%arg), index=0
  %v = f32[3]{0} get-tuple-element(%arg), index=1
  %all-reduce.1 = f32[3]{0} all-reduce(%v), replica_groups={{0,1}}, to_apply=%add
  ROOT %out = (s32[], f32[3]{0}) tuple(%i, %all-reduce.1)
}

%cond (arg.1: (s32[], f32[3])) -> pred[] {
  %arg.1 = (s32[], f32[3]{0}) parameter(0)
  ROOT %less = pred[] constant(true)
}

ENTRY %main (p: (s32[], f32[3])) -> (s32[], f32[3]) {
  %p = (s32[], f32[3]{0}) parameter(0)
  %all-reduce.2 = (f32[4]{0}, bf16[2]{0}) all-reduce(%p, %p), replica_groups={{0,1}}, to_apply=%add
  ROOT %while = (s32[], f32[3]{0}) while(%p), condition=%cond, body=%body, backend_config={"known_trip_count":{"n":"7"}}
}
"""


def test_a_collective_in_a_loop_counts_once_per_trip():
    assert scaling.collectives(LOOP) == {"all-reduce": {"count": 1 + 7, "bytes": 4 * 4 + 2 * 2 + 7 * 3 * 4}}


def test_a_loop_of_unknown_length_with_a_collective_is_refused():
    with pytest.raises(ValueError, match="trips"):
        scaling.collectives(LOOP.replace("known_trip_count", "other"))


@pytest.mark.slow
def test_a_step_on_eight_devices_reduces_each_gradient_once():
    found = scaling.in_own_process(8, size=32, width=2, heads="fused", compiled=True)
    reduced = found["collectives"]
    assert set(reduced) == {"all-reduce"}
    assert reduced["all-reduce"]["count"] <= 24  # XLA joins the gradients into a dozen
    assert 4 * found["parameters"] <= reduced["all-reduce"]["bytes"] <= 4 * found["parameters"] + 20_000
