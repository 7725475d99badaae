"""The plans of networks: which have one, their records, and the memory."""

import re
from math import prod
from pathlib import Path

import numpy as np
import pytest
import slow_networks as networks
from slow_networks import make_network, random_parameters

from skcnn import _compiled
from skcnn._compiled import records
from skcnn._compiled.layout import FILTERS, spread
from skcnn._compiled.plan import can_plan, make_layout, make_plan
from skcnn._nn.losses import SquaredError


def plan_of(network, n):
    parameters = random_parameters(network)
    loss = SquaredError(network.n_outputs)
    return make_plan(network, parameters, loss, make_layout(network, parameters), n)


def convolution_arrays(record, m, *, is_last):
    """The arrays of a convolution layer for a group, and those for one filter after the other."""
    size = record["F"] * record["dA_channel"]
    arrays = [(record["X"], record["X_size"]), (record["dA"], size)]
    if record["pooling"] == records.MAX_POOLING:
        arrays += [(record["argmax_start"], size)]
    if record["pooling"] == records.AVERAGE_POOLING:
        arrays += [(record["Z"], record["F"] * record["Z_channel"])]
    if is_last and record["pooling"] != records.IN_PLACE:
        arrays += [(record["A"], size)]
    if record["pooling"] == records.IN_PLACE:  # in the rows of the dense layers
        return arrays[:1], []
    n_filters = record["F"] if record["has_dX"] else min(record["F"], FILTERS)
    return arrays, [(record["dZ"], n_filters * record["channel"])]


@pytest.mark.parametrize("name", networks.ARCHITECTURES)
def test_arrays_are_disjoint(name):
    for n in (1, 5, 16):
        network = make_network(*networks.ARCHITECTURES[name])
        plan = plan_of(network, n)
        m, capacity = plan.stages[0]["group_size"], plan.sizes["capacity"]
        convolutions = [r for r in plan.layers if r["kind"] == records.CONVOLUTION]
        dense = [r for r in plan.layers if r["kind"] == records.DENSE]
        arrays, stride = [], convolutions[0]["stride"]
        for record in convolutions:
            per_group, single = convolution_arrays(record, m, is_last=record is convolutions[-1])
            for start, size in per_group:
                arrays += [(start + stride * k, size) for k in range(-(-capacity // m))]
            arrays += single
        for record in dense:
            for X, n_values in (("X", record["n_in"]), ("dX", record["n_in"])):
                starts = range(record[X], record[X] + capacity * record["stride"])
                arrays += [(start, n_values) for start in starts[:: record["stride"]]]
        for T in ("T_start", "dT_start"):
            row = plan.sizes["row"]
            arrays += [(plan.sizes[T] + row * k, network.n_outputs) for k in range(capacity)]
        shared = [r for r in convolutions if r["pooling"] != records.AVERAGE_POOLING]
        if shared and m > 1:
            size = max(r["F"] * r["Z_channel"] for r in shared)
            arrays += [(shared[0]["Z"], size)]
        if plan.reversal.size:
            arrays += [(plan.sizes["reversed"], plan.reversal.size)]
        buffers = max(r["W"] for r in convolutions) * m
        if convolutions[0]["pooling"] != records.IN_PLACE:
            arrays += [(convolutions[0]["pool_buffer"], buffers)]
        assert_disjoint(arrays, plan.scratch_size)


def assert_disjoint(arrays, size):
    end = 0
    for start, n_values in sorted(arrays):
        assert start >= end
        end = start + n_values
    assert end <= size


def test_responses_and_gradients_of_inputs_do_not_alias():
    plan = plan_of(make_network((32, 32, 3), [(8, 3, 2)] * 3), 16)
    convolutions = [r for r in plan.layers if r["kind"] == records.CONVOLUTION]
    strides = [r["Z_channel"] for r in convolutions] + [r["dX_channel"] for r in convolutions[1:]]
    assert strides == [spread(stride) for stride in strides]


@pytest.mark.parametrize("n, size", [(1, 1), (16, 16), (17, 9), (40, 14), (64, 16), (100, 15)])
def test_groups_of_a_batch_are_about_equal(n, size):
    plan = plan_of(make_network((8, 8, 1), [(2, 3, 2)]), n)
    assert plan.sizes["capacity"] == plan.stages[0]["group_size"] == size


def test_every_field_of_a_record_is_read_and_written():
    sources = [path.read_text() for path in Path(_compiled.__file__).parent.glob("*.py")]
    read = {*re.findall(r"\b(?:layer|sizes|sizes\[0\]|stage)\.(\w+)", "\n".join(sources))}
    plans = [
        plan_of(make_network(*networks.ARCHITECTURES[name], dropout=True), 3)
        for name in ("channels", "three layers", "average")
    ]
    tables = {
        records.LAYER: [record for plan in plans for record in plan.layers],
        records.STAGE: [stage for plan in plans for stage in plan.stages],
        records.NETWORK: [plan.sizes for plan in plans],
    }
    for dtype, rows in tables.items():
        assert {*dtype.names} <= read
        assert {*dtype.names} <= set().union(*rows)
        assert not {*dtype.names} & {*dir(np.record)}  # which Python would take for the field
    planned = set().union(*tables[records.LAYER]) - {*records.LAYER.names}
    assert planned <= {"learns", "W", *(f"learns_{name}" for name in "WbVc")}


def test_there_is_no_plan_for_windows_whose_offsets_no_float_holds():
    network = make_network((2**13, 2**11 - 1, 1), [(1, 1, "global")])
    loss = SquaredError(network.n_outputs)
    assert can_plan(network, loss, np.dtype(np.float32))
    network = make_network((2**13, 2**11, 1), [(1, 1, "global")])
    assert prod(network.image_shape) == 2**24
    assert not can_plan(network, loss, np.dtype(np.float32))
    assert can_plan(network, loss, np.dtype(np.float64))
