"""The base of the package's callbacks: one class for both Kerases."""

from __future__ import annotations

import keras


class Callback(keras.callbacks.Callback):
    """A Keras 3 callback that `tf_keras` models take as well.

    What tf_keras asks of a callback beyond Keras 3's methods is answered
    here; all batch hooks are called.
    """

    _supports_tf_logs = False

    def _implements_train_batch_hooks(self) -> bool:
        return True

    def _implements_test_batch_hooks(self) -> bool:
        return False

    def _implements_predict_batch_hooks(self) -> bool:
        return False

    @property
    def pruned(self):
        """The model in training, without a distiller around it."""
        model = self.model
        return getattr(model, "student", model)
