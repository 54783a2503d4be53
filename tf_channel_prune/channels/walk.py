"""Walks a graph once, rule by rule, and gives the labels of everything."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable

from tf_channel_prune.channels.labels import Labels
from tf_channel_prune.channels.probing import probe
from tf_channel_prune.channels.rules import rule_for
from tf_channel_prune.channels.scope import Scope
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.structure import Block
from tf_channel_prune.graph.structure import Graph
from tf_channel_prune.graph.structure import Node


def understood(kinds: tuple[str, ...]) -> bool:
    """Whether an operation needs no opening: a rule knows it."""
    return rule_for(kinds) is not None


def walk(graph: Graph, exclude=()) -> Scope:
    """Labels every tensor and weight axis of a graph.

    Args:
        graph: What to label.
        exclude: Names of layers, or patterns of them (`block1_*`), whose
            output channels stay.

    Raises:
        PruningError: If an entry of `exclude` matches no layer.
    """
    scope = Scope(graph)
    excluded = _excluded(graph, exclude)
    for number in graph.inputs:
        tensor = graph.tensors[number]
        scope.tensors[number] = Labels(
            tensor.shape, origin=f"the model input {tensor.name!r}"
        )
    for node in graph.nodes:
        rule = rule_for(node.kinds)
        reason = unsliceable(node)
        if reason is None and rule is None:
            reason = _probed(node, scope)
        if reason is not None:
            scope.freeze(node, reason)
        elif rule is not None:
            rule.label(node, scope)
        if node.name in excluded:
            _freeze_outputs(scope, node.outputs, f"{node.name} is excluded")
    _unite_calls(scope, graph)
    _freeze_outputs(scope, graph.outputs, "it reaches a model output")
    return scope


def _unite_calls(scope, graph):
    """A model that is called twice is one model in the slim one too."""
    first: dict[int, Block] = {}
    for block in graph.root.blocks():
        known = first.setdefault(id(block.model), block)
        if known is block:
            continue
        one, two = _tensors(known), _tensors(block)
        if len(one) != len(two):
            for number in (*one, *two):
                _freeze_outputs(
                    scope, [number], f"{block.name} differs from call to call"
                )
            continue
        for a, b in zip(one, two):
            scope.meet(a, b, f"{block.name} is called more than once")


def _tensors(block) -> list[int]:
    """Tensors of a block, its nested blocks' left to themselves."""
    inside = [
        number
        for step in block.steps
        if isinstance(step, Node)
        for number in step.outputs
    ]
    return [*block.inputs, *inside, *block.outputs]


def _freeze_outputs(scope, numbers, reason):
    for number in numbers:
        for vector in scope.tensors[number].axes.values():
            scope.space.freeze(vector, reason)


def unsliceable(node) -> str | None:
    """Why the weights of a layer cannot be sliced, whatever its rule."""
    names = {weight.name.rsplit("/", 1)[-1] for weight in node.weights}
    if any(name.startswith("lora_") for name in names):
        return (
            f"{node.name} has LoRA weights: merge them into the kernel before "
            "pruning"
        )
    whole = {"int8", "uint8", "int4", "uint4"}
    if whole & {weight.dtype for weight in node.weights} or any(
        name.endswith(("_amax_history", "quantized_kernel")) for name in names
    ):
        return f"{node.name} is quantized: prune first, then quantize"
    return None


def _probed(node, scope) -> str | None:
    """Labels a node without a rule by trying it; or says why it is whole."""
    carriers = [n for n in node.inputs if scope.tensors[n].axes]
    if not carriers:
        return _unknown(node)
    reason = probe(node, scope)
    return None if reason is None else f"{_unknown(node)}; tried, {reason}"


def _unknown(node) -> str:
    kind = node.kind.rsplit(".", 1)[-1]
    text = f"{node.name} ({kind}) has no rule"
    if node.closed_reason:
        text += f" and does not open: {node.closed_reason}"
    return text


def as_patterns(exclude) -> tuple[str, ...]:
    """What `exclude=` takes, one name or several, as a tuple of them.

    Raises:
        PruningError: If it holds anything but text.
    """
    patterns = exclude
    if isinstance(exclude, str):
        patterns = (exclude,)
    elif isinstance(exclude, Iterable):
        patterns = tuple(exclude)
    if not isinstance(patterns, tuple) or not all(
        isinstance(pattern, str) for pattern in patterns
    ):
        raise PruningError(
            "exclude is a layer's name, a pattern of names, or a list of "
            f"them; got {exclude!r}."
        )
    return patterns


def _excluded(graph, exclude) -> set[str]:
    names = [node.name for node in graph.nodes]
    found: set[str] = set()
    for pattern in as_patterns(exclude):
        matches = {
            name
            for name in names
            if fnmatch.fnmatchcase(name, pattern)
            or fnmatch.fnmatchcase(name.rsplit("/", 1)[-1], pattern)
            or name.startswith(pattern.rstrip("/") + "/")
        }
        if not matches:
            raise PruningError(
                f"exclude={pattern!r} matches no layer. "
                + _close_names(pattern, names)
            )
        found |= matches
    return found


def _close_names(pattern, names) -> str:
    import difflib

    close = difflib.get_close_matches(pattern, names, n=3)
    if close:
        return "Did you mean " + " or ".join(repr(n) for n in close) + "?"
    return "The first layers are " + ", ".join(repr(n) for n in names[:5]) + "."
