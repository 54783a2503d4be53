"""A user's optimizer or metric that its config does not give again."""

import inspect

import keras
import numpy as np
import pytest

import tf_channel_prune as tcp
from tf_channel_prune.graph.remade import lost

tf_keras = pytest.importorskip("tf_keras")
import tensorflow as tf  # noqa: E402

if keras.backend.backend() != "tensorflow":
    pytest.skip("variables of TensorFlow are trained", allow_module_level=True)

BOTH = pytest.mark.parametrize(
    "kind", [keras, tf_keras], ids=lambda k: k.__name__
)


def classes(kind):
    """An optimizer and a metric whose configs leave arguments out."""

    class Slow(kind.optimizers.SGD):
        def __init__(self, learning_rate=0.1, brake=1.0, limit=None, **how):
            super().__init__(learning_rate, **how)
            self.brake = brake
            self.limit = limit

    class Share(kind.metrics.Mean):
        def __init__(self, name="share", above=0.5, **how):
            super().__init__(name=name, **how)
            self._above = above

        def update_state(self, y, p, sample_weight=None):
            return super().update_state(p > self._above)

    return Slow, Share


def compiled(kind, optimizer, metric):
    model = kind.Sequential(
        [
            kind.Input((4,)),
            kind.layers.Dense(6, name="one"),
            kind.layers.Dense(2, name="head"),
        ]
    )
    model.compile(optimizer, "mse", metrics=[metric])
    model.fit(np.ones((4, 4)), np.ones((4, 2)), verbose=0)
    return model


@BOTH
def test_lost_arguments_are_named(kind, caplog):
    slow, share = classes(kind)
    model = compiled(kind, slow(0.2, brake=3.0, limit=2), share(above=0.9))
    tcp.prune(model, 0.3)
    assert "Slow differs from the model's in brake, limit" in caplog.text
    assert "Share differs from the model's in above" in caplog.text


@BOTH
def test_what_is_given_again_is_not(kind, caplog):
    slow, share = classes(kind)
    model = compiled(kind, slow(0.2), share())
    copy = tcp.prune(model, 0.3)
    assert type(copy.optimizer) is slow
    assert "differs" not in caplog.text


def own_versions(room, base):
    """Subclasses of a room's classes that take no argument to make."""
    for name, cls in sorted(vars(room).items()):
        if not (inspect.isclass(cls) and issubclass(cls, base)):
            continue
        parameters = list(inspect.signature(cls.__init__).parameters.values())
        needed = [
            p
            for p in parameters[1:]
            if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD
        ]
        if cls is not base and not needed:
            yield type(f"My{name}", (cls,), {"__module__": __name__})


@pytest.mark.parametrize(
    "room",
    [keras.optimizers, tf_keras.optimizers, tf_keras.optimizers.legacy],
    ids=lambda room: room.__name__,
)
def test_used_optimizers_lost_nothing(room):
    kind = keras if room is keras.optimizers else tf_keras
    found = 0
    for cls in own_versions(room, room.Optimizer):
        layer = kind.layers.Dense(2)
        layer.build((None, 3))
        used = cls()
        gradients = [tf.ones(w.shape) for w in layer.trainable_weights]
        try:
            used.apply_gradients(zip(gradients, layer.trainable_weights))
        except AttributeError:  # Muon of Keras 3.12 works in `fit` alone
            continue
        assert lost(used, cls.from_config(used.get_config())) == [], cls
        found += 1
    assert found >= 7


@BOTH
def test_used_metrics_lost_nothing(kind):
    found = 0
    for cls in own_versions(kind.metrics, kind.metrics.Metric):
        used = cls()
        try:
            used.update_state(np.eye(3, dtype="float32"), np.eye(3) * 0.5)
        except Exception:  # it takes labels of another shape
            continue
        assert lost(used, cls.from_config(used.get_config())) == [], cls
        found += 1
    assert found >= 20
