"""What a user should know of models that are made from a graph."""

from __future__ import annotations


def lost_methods(model, base) -> list[str]:
    """What a plain functional model does not do as this model does."""
    names = ("train_step", "test_step", "predict_step", "compute_loss")
    own = [
        name
        for name in names
        if hasattr(base, name)
        and getattr(type(model), name) is not getattr(base, name)
    ]
    if not own:
        return []
    return [
        f"{model.name!r} ({type(model).__name__}) has its own "
        f"{', '.join(own)}; models made from it have Keras'. Train them in a "
        "loop, or inside a model that has yours."
    ]


def untied(nodes) -> list[str]:
    """Notes on weights that two operations of a rebuilt model will hold."""
    users: dict[int, dict] = {}
    for node in nodes:
        for weight in node.weights:
            names = users.setdefault(weight.key, {})
            names.setdefault(id(node.operation), node.name)
    return [
        f"{' and '.join(map(repr, names.values()))} share a weight. Models "
        "made from this one hold it once for each: equal at first, trained "
        "apart. A layer that is called twice (keras.layers."
        "ReversibleEmbedding) keeps such weights tied."
        for names in users.values()
        if len(names) > 1
    ]


def lost_losses(model) -> str:
    """A note on losses and metrics that belong to a model, not to a layer."""
    return (
        f"{model.name!r} has losses or metrics of its own, by add_loss, "
        "add_metric or a regularizer of the whole model; models made from it "
        "have none of them. Add them to those again."
    )
