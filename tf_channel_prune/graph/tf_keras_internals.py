"""The private corners of tf_keras (Keras 2) that the package needs.

Checked on tf_keras 2.21. Nothing outside this room touches them.
"""

from __future__ import annotations

import tf_keras


def load(path, custom_objects, compiled, safe_mode):
    """`tf_keras.models.load_model`, equally safe for every format."""
    from tf_keras.src.saving.serialization_lib import SafeModeScope

    with SafeModeScope(safe_mode):
        return tf_keras.models.load_model(
            path, custom_objects, compile=compiled, safe_mode=safe_mode
        )
