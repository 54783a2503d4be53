"""`ChannelMask`: the layer wrapper that holds masks (Keras 3)."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from tf_channel_prune.channels import INPUT
from tf_channel_prune.graph import keras_internals
from tf_channel_prune.graph.read_keras import weights_of
from tf_channel_prune.masking.forms import form_of


def masked(array, masks):
    """A weight with zeros where its `(axis, mask)` pairs have them."""
    for axis, mask in masks:
        shape = [1] * len(array.shape)
        shape[axis] = -1
        array = array * ops.cast(ops.reshape(mask, shape), array.dtype)
    return array


class MaskConstraint(keras.constraints.Constraint):
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
        # Inside JAX's `fit` masks are out of reach here, and not needed:
        # `ChannelMask` says why.
        if any(keras_internals.is_lent(mask) for _, mask in self.masks):
            return w
        return masked(w, self.masks)

    def get_config(self):
        raise NotImplementedError(
            "ChannelMask makes its constraints again when it is loaded."
        )


@keras.saving.register_keras_serializable("tf_channel_prune")
class ChannelMask(keras.layers.Wrapper):
    """Holds the channel masks of one layer.

    It computes what the layer computes. The masks are non-trainable weights
    named `<weight>_axis<axis>_mask`, one entry per position of the axis: 1
    stays, 0 is masked.

    On the JAX backend `fit` lends all variables to a compiled step, and an
    optimizer's constraints cannot see the masks. They are not missed: what is
    masked on both sides, and in the forward pass where it is `guarded`, has a
    gradient of exactly zero, so it stays zero through any optimizer whose
    slots are zero there.

    Args:
        layer: The wrapped layer, built.
        axes: `(weight name, axis)` pairs to hold masks for; `(INPUT, axis)`
            for axes of the input that `form` looks at.
        guarded: Names of weights that are masked in the forward pass too.
            A dead channel that is not zero (after a sigmoid, say) sends a
            gradient to its consumers; a constraint undoes that after the
            step, but an optimizer that averages weights (`use_ema`) has
            seen it by then. Defaults to none: the forward pass is the
            layer's own.
        sizes: The length of each of these axes. Defaults to what the layer
            has.
        form: How a layer with statistics over masked channels is computed;
            see `forms.py`. Defaults to the layer's own `call`.
        name: Defaults to the layer's own name, so that `get_layer` and losses
            by output name keep working.

    Attributes:
        masks: The mask variable of each of `axes`.
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
        self.axes = [(str(weight), int(axis)) for weight, axis in axes]
        self.guarded = [str(weight) for weight in guarded]
        self.form = form
        if sizes is None:
            weights = {w.name: w for w in weights_of(layer)}
            sizes = [weights[name].shape[axis] for name, axis in self.axes]
        self.sizes = [int(size) for size in sizes]
        self.supports_masking = layer.supports_masking
        self.autocast = layer.autocast
        keras_internals.call_like(self, layer)
        self.masks = {}
        if layer.built:
            self._hold()
            self.built = True

    def build(self, *args, **kwargs):
        if not self.layer.built:
            self.layer.build(*args, **kwargs)
        if not self.masks:
            self._hold()

    def _hold(self):
        """Makes the masks and ties them to the layer's variables."""
        for (name, axis), size in zip(self.axes, self.sizes):
            self.masks[name, axis] = self.add_weight(
                shape=(size,),
                initializer="ones",
                trainable=False,
                dtype="float32",
                autocast=False,
                name=f"{name.replace('/', '_')}_axis{axis}_mask",
            )
        self._constrain()

    def _constrain(self):
        weights = {w.name: w for w in weights_of(self.layer)}
        for name in dict.fromkeys(n for n, _ in self.axes if n != INPUT):
            variable = weights[name].variable
            mine = [
                (axis, mask)
                for (other, axis), mask in self.masks.items()
                if other == name
            ]
            variable.constraint = MaskConstraint(mine, variable.constraint)

    def call(self, *args, **kwargs):
        if not self.guarded:
            return self._compute(*args, **kwargs)
        guarded = {
            id(w.variable): self._masked(w)
            for w in weights_of(self.layer)
            if w.name in self.guarded
        }
        # The scope hides all outer values, so it must be given every one.
        values = [
            (variable, guarded.get(id(variable), variable.value))
            for variable in (*self.layer.variables, *self.masks.values())
        ]
        with keras.StatelessScope(values, collect_losses=True) as scope:
            outputs = self._compute(*args, **kwargs)
            losses = keras_internals.taken_losses(self.layer, scope)
        for loss in losses:  # activity regularizers, and the layer's own
            self.add_loss(loss)
        for variable, before in values:
            after = scope.get_current_value(variable)
            if after is not before:  # statistics, counters, seeds
                variable.assign(after)
        return outputs

    def _compute(self, *args, **kwargs):
        """The layer's own call, or its masked form."""
        if self.form is None:
            return self.layer(*args, **kwargs)
        masks = {
            axis: mask.value
            for (name, axis), mask in self.masks.items()
            if name == INPUT
        }
        return form_of(self.form)(ops, self.layer, args[0], masks)

    def _masked(self, weight):
        masks = [
            (axis, mask)
            for (name, axis), mask in self.masks.items()
            if name == weight.name
        ]
        return masked(weight.variable.value, masks)

    def compute_output_spec(self, *args, **kwargs):
        return self.layer.compute_output_spec(*args, **kwargs)

    def compute_mask(self, inputs, previous_mask):
        return self.layer.compute_mask(inputs, previous_mask)

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
            if names is not None and weight.name not in names:
                continue
            # One mask at a time: a large kernel is copied once, not twice.
            for (name, axis), mask in self.masks.items():
                if name == weight.name:
                    constraint = MaskConstraint([(axis, mask)])
                    weight.variable.assign(constraint(weight.variable.value))

    def get_config(self):
        return {
            **super().get_config(),
            "axes": self.axes,
            "guarded": self.guarded,
            "sizes": self.sizes,
            "form": self.form,
        }
