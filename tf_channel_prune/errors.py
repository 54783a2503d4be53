"""The one family of errors that the package raises on purpose."""


class PruningError(Exception):
    """Something that the user can act on: what happened, and what to do."""


class UnsupportedModelError(PruningError):
    """The model, as a whole, cannot be read (one layer never causes this)."""


class TargetError(PruningError):
    """A target that no allowed plan reaches; names the reachable range."""


class VerificationError(PruningError):
    """A rebuilt model whose outputs differ from the model it came from."""


class NoInputsError(PruningError):
    """A model that does not run on random inputs, of whatever sizes."""


class StaleFileError(PruningError):
    """A file in the workspace was made from another graph or other weights."""
