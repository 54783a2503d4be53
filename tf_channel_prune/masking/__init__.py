"""Sparse models: the same shapes, with masked channels held at zero.

Every layer whose weights carry removable channels is wrapped in a
`ChannelMask`, a `keras.layers.Wrapper` that holds one mask vector per weight
axis as non-trainable weights. The masks act as constraints of the wrapped
layer's variables, which Keras optimizers apply after every step, in `fit` and
in custom loops; the forward pass is the layer's own, so it costs nothing.
"""

from tf_channel_prune.masking.masks import Masks
from tf_channel_prune.masking.masks import copied
from tf_channel_prune.masking.masks import living_units
from tf_channel_prune.masking.masks import make_sparse
from tf_channel_prune.masking.sparsity import sparsity

__all__ = ["Masks", "copied", "living_units", "make_sparse", "sparsity"]
