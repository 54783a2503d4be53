"""Which wrapper holds the masks of a layer, by its Keras."""

from __future__ import annotations

from tf_channel_prune.channels import INPUT


def wrap(graph, layer, masks: dict, guarded=(), form: str | None = None):
    """A built layer inside a holder with these masks set.

    Args:
        graph: The graph that the layer belongs to.
        layer: A built layer.
        masks: A boolean vector per `(weight name, axis)`, and per
            `(INPUT, axis)` for the axes that a masked form looks at.
        guarded: Names of weights to mask in the forward pass too.
        form: The layer's masked form, where it needs one.
    """
    if graph.flavour == "tf_keras":
        from tf_channel_prune.masking.holder_tf_keras import ChannelMask
    else:
        from tf_channel_prune.masking.holder import ChannelMask
    inputs = [
        (axis, mask.size)
        for (name, axis), mask in masks.items()
        if name == INPUT
    ]
    axes = [key for key in masks if key[0] != INPUT]
    if form is None:
        holder = ChannelMask(layer, axes, guarded)
    else:
        holder = ChannelMask(layer, axes, guarded, form, inputs)
    if not all(mask.all() for mask in masks.values()):
        holder.set_masks(masks)
    return holder
