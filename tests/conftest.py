"""Skips tests of what an older Keras lacks, or computes wrongly itself."""

import keras
import pytest

VERSION = tuple(int(number) for number in keras.__version__.split(".")[:2])

# By the first version that has it: what it is, and the tests that need it.
SINCE = {
    (3, 13): {
        "a seed for Keras' own generator that starts it again": [
            "test_the_callers_random_numbers_go_on",
        ],
        "adaptive pooling": [
            "test_channels_first[AdaptiveAveragePooling2D]",
            *(
                f"test_every_rank[Adaptive{kind}Pooling{rank}D]"
                for kind in ("Average", "Max")
                for rank in (1, 2, 3)
            ),
        ],
    },
    (3, 14): {
        "depth_to_space and space_to_depth": [
            "test_a_function_is_the_operation_that_it_computes[depth_to_space]",
            "test_every_row_names_a_function_and_an_operation",
            "test_one[depth_to_space]",
            "test_one[space_to_depth]",
            "test_splits_and_slices",
        ],
        "flip of several axes": [
            "test_a_function_is_the_operation_that_it_computes[reverse]",
            "test_one[flip all but the batch]",
        ],
        "convolutions that refuse to give nothing": [
            "test_shapes_that_do_not_fit_are_refused"
            "[given5-does not go through 'conv2d]",
        ],
        "attention with a gate": [
            "test_multi_head_attention[gate]",
            "test_grouped_query_attention[gate]",
        ],
        "models with an input that nothing reads": [
            "test_topology[unused_input]",
            *(
                f"test_right_for_every_size[{row}]"
                for row in (
                    "Positions-inside1",
                    "Token-inside2",
                    "Zeros-inside3",
                    "AroundNone-inside4",
                    "TakesMore-inside5",
                    "NoConfig-inside6",
                )
            ),
        ],
    },
    (3, 15): {
        "regularizers that are functions": [
            "test_regularizers_initializers_and_constraints[keras]",
        ],
        "a right einsum of '...c,cd->...d'": ["test_one[einsum dots]"],
        "attention in a window": ["test_multi_head_attention[sliding window]"],
    },
}


def pytest_collection_modifyitems(items):
    reasons = {
        name: f"Keras has no {what} before {version[0]}.{version[1]}"
        for version, rows in SINCE.items()
        if version > VERSION
        for what, names in rows.items()
        for name in names
    }
    for item in items:
        if item.name in reasons:
            item.add_marker(pytest.mark.skip(reason=reasons[item.name]))
