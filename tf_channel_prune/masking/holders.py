"""Which wrapper holds the masks of a layer, by its Keras."""

from __future__ import annotations


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
    sizes = [mask.size for mask in masks.values()]
    holder = ChannelMask(layer, list(masks), guarded, sizes, form)
    if not all(mask.all() for mask in masks.values()):
        holder.set_masks(masks)
    return holder
