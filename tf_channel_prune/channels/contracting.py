"""Which operations without a count may well be contractions."""

from __future__ import annotations

import re

from tf_channel_prune.graph.structure import Node

# In names of operations, of whichever library. To convert is no convolution.
_NAME = re.compile(
    r"conv(?!ert)|correlate|matmul|matvec|einsum|dot|inner|attention",
    re.IGNORECASE,
)
_FUNCTION = re.compile(r"\btf\.[\w.]+")


def may_contract(node: Node) -> bool:
    """Whether a node that no rule counts may multiply and add.

    What has a matrix among its weights most likely multiplies by it. Without
    weights, names tell: its own where it is an operation, else that of the
    function for which it could not be opened.
    """
    if any(len(weight.shape) > 1 for weight in node.weights):
        return True
    if node.is_layer:
        names = _FUNCTION.findall(node.closed_reason or "")
    else:
        names = [node.kind]
    return any(_NAME.search(name.rpartition(".")[-1]) for name in names)
