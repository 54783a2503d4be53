"""Lets Keras load sparse models as soon as the package is imported.

Keras deserializes only classes that are registered with it, and registering
needs Keras, which takes seconds to import. So the mask holders are registered
when Keras is there already, or else right after its import, whenever that is.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

HOLDERS = {
    "keras": "tf_channel_prune.masking.holder",
    "tf_keras": "tf_channel_prune.masking.holder_tf_keras",
}


class _AfterImport:
    """A finder that finds nothing itself: it waits for one module."""

    def __init__(self, library: str, holder: str):
        self.library = library
        self.holder = holder
        self._asking_others = False

    def find_spec(self, name, path=None, target=None):
        if name != self.library or self._asking_others:
            return None
        self._asking_others = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self._asking_others = False
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                sys.meta_path.remove(self)
                importlib.import_module(self.holder)

            spec.loader.exec_module = exec_module
        return spec


def register_holders() -> None:
    """Registers the mask holders of every Keras, now or at its import."""
    for library, holder in HOLDERS.items():
        if sys.modules.get(library) is not None:
            importlib.import_module(holder)
        else:
            sys.meta_path.insert(0, _AfterImport(library, holder))
