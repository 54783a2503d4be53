"""Masked forms: layers that take statistics over prunable channels.

A layer norm over 64 channels of which 16 are masked must give what the slim
layer gives over 48. Zeroed weights cannot say that, so the sparse model
computes these few layers by a form of its own; all others run their own
`call`.

A form is a function of `(ops, layer, x, masks)`, where `masks` holds a float
vector per masked axis of `x`. `ops` has the few functions of `keras.ops` that
are used here, so that both Kerases share the formulas.
"""

from __future__ import annotations


def layer_norm(ops, layer, x, masks):
    """Ba et al. 2016, equation 3, over the living positions.

    With `rms_scaling` the variance is about the mean, but the mean stays, as
    Keras computes it.
    """
    x = _float(ops, x)
    axes = _axes(layer, x)
    mean = _mean(ops, x, axes, masks)
    variance = _mean(ops, ops.square(x - mean), axes, masks)
    out = x if getattr(layer, "rms_scaling", False) else x - mean
    out = out * ops.rsqrt(variance + layer.epsilon)
    if layer.gamma is not None:
        out = out * _along(ops, layer.gamma, axes, x)
    if layer.beta is not None:
        out = out + _along(ops, layer.beta, axes, x)
    if layer.gamma is None:
        out = _masked(ops, out, masks)
    return ops.cast(out, layer.compute_dtype)


def rms_norm(ops, layer, x, masks):
    """Zhang and Sennrich 2019, equation 4, over the living positions."""
    dtype, x = x.dtype, _float(ops, x)
    axes = _axes(layer, x)
    square = _mean(ops, ops.square(x), axes, masks)
    out = x * ops.rsqrt(square + layer.epsilon)
    return ops.cast(out * _along(ops, layer.scale, axes, x), dtype)


def group_norm(ops, layer, x, masks):
    """Wu and He 2018, equation 2; every group has lost the same positions."""
    ((axis, mask),) = masks.items()
    x = _float(ops, x)
    shape = _shape(ops, x)
    split = (layer.groups, x.shape[axis] // layer.groups)
    grouped = ops.reshape(x, (*shape[:axis], *split, *shape[axis + 1 :]))
    axes = [a for a in range(1, len(grouped.shape)) if a != axis]
    # The first group's part of the mask stands for all.
    inner = {axis + 1: mask[: split[1]]}
    mean = _mean(ops, grouped, axes, inner)
    variance = _mean(ops, ops.square(grouped - mean), axes, inner)
    out = (grouped - mean) * ops.rsqrt(variance + layer.epsilon)
    out = ops.reshape(out, shape)
    if layer.gamma is not None:
        out = out * _along(ops, layer.gamma, [axis], x)
    if layer.beta is not None:
        out = out + _along(ops, layer.beta, [axis], x)
    if layer.gamma is None:
        out = _masked(ops, out, masks)
    return ops.cast(out, layer.compute_dtype)


def zeroed(ops, layer, x, masks):
    """The layer's own call, on an input whose masked positions are zero."""
    return layer(_masked(ops, x, masks))


_EACH_STEP = "each_step:"


def form_of(name: str):
    """The form of a name; `each_step:layer_norm` is one inside a wrapper."""
    if name.startswith(_EACH_STEP):
        return _each_step(form_of(name.removeprefix(_EACH_STEP)))
    return _FORMS[name]


def _each_step(form):
    """A form for `TimeDistributed`: every step is one more sample."""

    def stepped(ops, layer, x, masks):
        steps, *shape = _shape(ops, x)[1:]
        inner = {axis - 1: mask for axis, mask in masks.items()}
        flat = form(ops, layer.layer, ops.reshape(x, (-1, *shape)), inner)
        return ops.reshape(flat, (-1, steps, *shape))

    return stepped


_FORMS = {
    "layer_norm": layer_norm,
    "rms_norm": rms_norm,
    "group_norm": group_norm,
    "zeroed": zeroed,
}


def _float(ops, x):
    """Statistics of half precision are taken in float32, as Keras does."""
    return ops.cast(x, "float32") if "16" in str(x.dtype) else x


def _shape(ops, x):
    """Sizes as numbers where they are known, else as tensors."""
    dynamic = ops.shape(x)
    return tuple(
        dynamic[axis] if size is None else size
        for axis, size in enumerate(x.shape)
    )


def _axes(layer, x):
    axis = layer.axis
    axes = axis if isinstance(axis, (list, tuple)) else [axis]
    return sorted(a % len(x.shape) for a in axes)


def _vector(ops, mask, axis, x):
    """A mask with the rank of `x`."""
    shape = [1] * len(x.shape)
    shape[axis] = -1
    return ops.cast(ops.reshape(mask, shape), x.dtype)


def _mean(ops, x, axes, masks):
    """The mean over `axes`, of living positions where an axis has a mask."""
    for axis in axes:
        if axis in masks:
            mask = _vector(ops, masks[axis], axis, x)
            x = ops.sum(x * mask, axis=axis, keepdims=True) / ops.sum(mask)
    rest = [axis for axis in axes if axis not in masks]
    return ops.mean(x, axis=rest, keepdims=True) if rest else x


def _along(ops, weight, axes, x):
    """A weight whose axes are `axes` of `x`, with the rank of `x`."""
    shape = [x.shape[a] if a in axes else 1 for a in range(len(x.shape))]
    return ops.cast(ops.reshape(weight, shape), x.dtype)


def _masked(ops, x, masks):
    for axis, mask in masks.items():
        x = x * _vector(ops, mask, axis, x)
    return x
