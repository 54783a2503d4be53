"""`ChannelMask`: the layer wrapper that holds masks (tf_keras)."""

from __future__ import annotations

import numpy as np
import tensorflow as tf
import tf_keras

from tf_channel_prune.channels import INPUT
from tf_channel_prune.graph import tf_keras_internals
from tf_channel_prune.graph.read_tf_keras import weights_of
from tf_channel_prune.masking.forms import form_of


class MaskConstraint(tf_keras.constraints.Constraint):
    """Keeps masked entries at zero, after the layer's own constraint.

    Args:
        masks: `(axis, mask variable)` pairs.
        constraint: The variable's constraint before, or None.
    """

    def __init__(self, masks, constraint=None):
        self.masks = list(masks)
        self.constraint = constraint

    def __call__(self, w):
        if self.constraint is not None:
            w = self.constraint(w)
        for axis, mask in self.masks:
            shape = [1] * len(w.shape)
            shape[axis] = -1
            w = w * tf.cast(tf.reshape(mask, shape), w.dtype)
        return w

    def get_config(self):
        raise NotImplementedError(
            "ChannelMask makes its constraints again when it is loaded."
        )


class _Ops:
    """What `forms.py` needs, by the names of `keras.ops`."""

    cast = staticmethod(tf.cast)
    mean = staticmethod(tf.reduce_mean)
    reshape = staticmethod(tf.reshape)
    rsqrt = staticmethod(tf.math.rsqrt)
    shape = staticmethod(tf.shape)
    square = staticmethod(tf.square)
    sum = staticmethod(tf.reduce_sum)


@tf_keras.saving.register_keras_serializable("tf_channel_prune")
class ChannelMask(tf_keras.layers.Wrapper):
    """Holds the channel masks of one layer.

    It computes what the layer computes, and its call takes what the layer's
    takes. The masks are non-trainable weights named
    `<weight>_axis<axis>_mask`, one entry per position of the axis: 1 stays, 0
    is masked.

    Args:
        layer: The wrapped layer.
        axes: `(weight name, axis)` pairs to hold masks for; `(INPUT, axis)`
            for axes of the input that `form` looks at.
        guarded: Names of weights that are masked in the forward pass too,
            for what a gradient would leave in an optimizer's averages before
            the constraint acts. Defaults to none: the forward pass is the
            layer's own.
        sizes: The length of each of these axes. Defaults to what the layer
            has, which must be built then.
        form: How a layer with statistics over masked channels is computed;
            see `forms.py`. Defaults to the layer's own `call`.
        name: Defaults to the layer's own name, so that `get_layer` and losses
            by output name keep working.

    Attributes:
        masks: The mask variable of each `(weight name, axis)`.
    """

    holds_channel_masks = True

    def __init__(
        self,
        layer,
        axes,
        guarded=(),
        sizes=None,
        form=None,
        name=None,
        **kwargs,
    ):
        kwargs.setdefault("dtype", layer.dtype_policy)
        # Setting `trainable` to what it is does nothing in Keras, not even
        # to the layer inside.
        kwargs.setdefault("trainable", layer.trainable)
        super().__init__(layer, name=name or layer.name, **kwargs)
        # The layer casts its inputs itself.
        self._autocast = False
        self.axes = [(str(weight), int(axis)) for weight, axis in axes]
        if sizes is None:
            weights = {w.name: w for w in weights_of(layer)}
            sizes = [weights[name].shape[axis] for name, axis in self.axes]
        self.guarded = [str(weight) for weight in guarded]
        self.sizes = [int(size) for size in sizes]
        self.form = form
        self.supports_masking = layer.supports_masking
        tf_keras_internals.call_like(self, layer)
        self._constrained = False
        self._make_masks()
        if layer.built:
            self._constrain()
            self.built = True

    # A dictionary with tuples as keys cannot be tracked by TensorFlow; the
    # variables in it are, as weights.
    @tf.__internal__.tracking.no_automatic_dependency_tracking
    def _make_masks(self):
        self.masks = {}
        for (name, axis), size in zip(self.axes, self.sizes):
            self.masks[name, axis] = self.add_weight(
                shape=(size,),
                initializer="ones",
                trainable=False,
                dtype="float32",
                experimental_autocast=False,
                name=f"{name.replace('/', '_')}_axis{axis}_mask",
            )

    def build(self, input_shape=None):
        super().build(input_shape)
        self._constrain()

    def _constrain(self):
        """Ties the masks to the layer's variables, once it has them."""
        weights = {w.name: w for w in weights_of(self.layer)}
        if self._constrained or not weights:
            return  # some layers make their weights when they are called
        for name in dict.fromkeys(n for n, _ in self.axes if n != INPUT):
            variable = weights[name].variable
            mine = [
                (axis, mask)
                for (other, axis), mask in self.masks.items()
                if other == name
            ]
            tf_keras_internals.constrain(
                variable, MaskConstraint(mine, variable.constraint)
            )
        self._constrained = True

    def call(self, *args, **kwargs):
        if self.guarded and self._constrained:
            values = {
                weight.key: self._masked(weight)
                for weight in weights_of(self.layer)
                if weight.name in self.guarded
            }
            with tf_keras_internals.reading(self.layer, values):
                return self._compute(*args, **kwargs)
        result = self._compute(*args, **kwargs)
        self._constrain()
        return result

    def _compute(self, *args, **kwargs):
        """The layer's own call, or its masked form."""
        if self.form is None:
            return self.layer(*args, **kwargs)
        masks = {
            axis: mask
            for (name, axis), mask in self.masks.items()
            if name == INPUT
        }
        return form_of(self.form)(_Ops, self.layer, args[0], masks)

    def _masked(self, weight):
        masks = [
            (axis, mask)
            for (name, axis), mask in self.masks.items()
            if name == weight.name
        ]
        return MaskConstraint(masks)(tf.convert_to_tensor(weight.variable))

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)

    def compute_mask(self, inputs, mask=None):
        return self.layer.compute_mask(inputs, mask)

    def set_masks(self, values: dict) -> None:
        """Sets masks and zeroes what they mask.

        Args:
            values: A vector of zeros and ones per `(weight name, axis)`.
        """
        for key, value in values.items():
            self.masks[key].assign(np.asarray(value, "float32"))
        self.enforce({name for name, _ in values})

    def enforce(self, names=None) -> None:
        """Zeroes what is masked (after something else wrote the weights)."""
        for weight in weights_of(self.layer):
            if names is None or weight.name in names:
                weight.variable.assign(self._masked(weight))

    def get_config(self):
        config = super().get_config()
        config["layer"] = tf_keras.saving.serialize_keras_object(self.layer)
        return {
            **config,
            "axes": self.axes,
            "guarded": self.guarded,
            "sizes": self.sizes,
            "form": self.form,
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        inner = config.pop("layer")
        layer = tf_keras.layers.deserialize(
            inner, custom_objects, use_legacy_format="module" not in inner
        )
        return cls(layer, **config)
