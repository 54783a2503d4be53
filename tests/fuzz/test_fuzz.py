"""Hundreds of random models; `make fuzz` runs thousands."""

import pytest
from fuzz_check import double_precision
from fuzz_check import try_program
from fuzz_check import try_seed
from fuzz_programs import Line
from fuzz_programs import shrunk
from fuzz_programs import write

BATCHES = 10
SIZE = 20


@pytest.fixture(autouse=True)
def precision():
    with double_precision():
        yield


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_models(batch):
    outcomes = [
        try_seed(seed) for seed in range(batch * SIZE, (batch + 1) * SIZE)
    ]
    failed = [o.detail for o in outcomes if o.status == "failed"]
    assert not failed, "\n\n".join(failed)
    # The generator is worth something only if most models can be pruned, and
    # most masks show in the outputs.
    assert sum(o.moved for o in outcomes) > SIZE / 2


def test_programs_are_the_same_for_the_same_seed():
    assert write(3) == write(3)


def test_a_failure_is_cut_down():
    lines = [
        Line("x1 = keras.Input((4,))", ("x1",)),
        Line("x2 = layers.Dense(3)(x1)", ("x2",)),
        Line("x3 = ops.tanh(x2)", ("x3",)),
        Line("x4 = layers.Dense(3)(x3)", ("x4",)),
        Line("x5 = x4 + x3", ("x5",)),
        Line("model = keras.Model([x1], [x5])"),
    ]

    def fails(program):
        runs = try_program(program, 0).status != "unfit"
        return runs and any("tanh" in line.text for line in program)

    assert [line.text for line in shrunk(lines, fails)] == [
        "x1 = keras.Input((4,))",
        "x3 = ops.tanh(x1)",
        "model = keras.Model([x1], [x3])",
    ]
