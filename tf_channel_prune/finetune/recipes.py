"""How a model is trained: rates, decay, epochs, optimizer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.digests import value_digest
from tf_channel_prune.numbers import check_between
from tf_channel_prune.numbers import check_count
from tf_channel_prune.numbers import make_plain

DECAYS = ("cosine", "step", "constant")
# One-dimensional weights have no use for it (He et al., CVPR 2019, "Bag of
# tricks", section 3.1).
UNDECAYED = ["bias", "gamma", "beta"]


@dataclasses.dataclass(frozen=True)
class Recipe:
    """One way to fine-tune.

    Attributes:
        learning_rate: The initial learning rate. Defaults to 0.01.
        decay: `cosine` to zero, `step` (a tenth after 50 % and again after
            75 % of the epochs) or `constant`. Defaults to `cosine`.
        epochs: Defaults to 10.
        batch_size: Where the data are arrays. Defaults to 128.
        optimizer: `sgd` (momentum 0.9, Nesterov), `adam`, `adamw`, or a
            function of `(learning rate, weight decay)` that makes one; the
            learning rate is a schedule object or a number. Defaults to `sgd`.
        weight_decay: Decoupled, as Keras' optimizers have it: weights shrink
            by learning rate times this at every step; biases and
            normalisation do not. Defaults to 0.
        warmup: Epochs in which a cosine schedule rises from zero. Defaults
            to 0.
        name: What the tables call it. Defaults to a description.
    """

    learning_rate: float = 0.01
    decay: str = "cosine"
    epochs: int = 10
    batch_size: int = 128
    optimizer: str | Callable[[Any, float], Any] = "sgd"
    weight_decay: float = 0.0
    warmup: float = 0.0
    name: str = ""

    def __post_init__(self):
        make_plain(self)
        if self.decay not in DECAYS:
            raise PruningError(
                f"decay={self.decay!r}: expected one of {', '.join(DECAYS)}."
            )
        inf = math.inf
        check_between(self.learning_rate, 0, inf, "learning_rate is a number")
        check_count(self.epochs, 1, "epochs")
        check_count(self.batch_size, 1, "batch_size")
        what = "weight_decay is a number"
        check_between(self.weight_decay, 0, inf, what, ends=True)
        check_between(self.warmup, 0, inf, "warmup is a number", ends=True)
        if self.warmup >= self.epochs:
            raise PruningError(
                f"warmup={self.warmup:g} must be less than the recipe's "
                f"{self.epochs} epochs."
            )
        if self.warmup and self.decay != "cosine":
            raise PruningError("warmup is for the cosine decay only.")
        if not callable(self.optimizer) and self.optimizer not in _OPTIMIZERS:
            raise PruningError(
                f"optimizer={self.optimizer!r}: expected one of "
                f"{', '.join(_OPTIMIZERS)}, or a function of (learning rate, "
                "weight decay)."
            )

    def __str__(self) -> str:
        if self.name:
            return self.name
        how = self.optimizer if isinstance(self.optimizer, str) else "own"
        return f"{how} {self.learning_rate:g} {self.decay}"

    def make_optimizer(self, library, steps_per_epoch: int):
        """The optimizer, its learning rate scheduled.

        Args:
            library: The module `keras` or `tf_keras`.
            steps_per_epoch: Batches an epoch.
        """
        rate = self._rate(library.optimizers.schedules, steps_per_epoch)
        make = self.optimizer
        if not callable(make):
            make = _OPTIMIZERS[make](library.optimizers)
        optimizer = make(rate, self.weight_decay)
        if self.weight_decay and hasattr(
            optimizer, "exclude_from_weight_decay"
        ):
            optimizer.exclude_from_weight_decay(var_names=UNDECAYED)
        return optimizer

    def _rate(self, schedules, steps_per_epoch):
        steps = self.epochs * steps_per_epoch
        rate = self.learning_rate
        if self.decay == "constant":
            return rate
        if self.decay == "step":
            return schedules.PiecewiseConstantDecay(
                [steps // 2, steps * 3 // 4], [rate, rate / 10, rate / 100]
            )
        rise = round(self.warmup * steps_per_epoch)
        if not rise:
            return schedules.CosineDecay(rate, steps)
        return schedules.CosineDecay(
            0.0, steps - rise, warmup_target=rate, warmup_steps=rise
        )

    def as_dict(self) -> dict[str, Any]:
        """The recipe as JSON values; a function becomes a name and digest."""
        values = dataclasses.asdict(self)
        if callable(self.optimizer):
            made = self.optimizer
            name = getattr(made, "__qualname__", type(made).__qualname__)
            values["optimizer"] = f"{name} {value_digest(made)[:12]}"
        return values


_OPTIMIZERS: dict[str, Callable] = {
    "sgd": lambda o: (
        lambda rate, decay: o.SGD(
            rate, momentum=0.9, nesterov=True, weight_decay=decay or None
        )
    ),
    "adam": lambda o: (
        lambda rate, decay: o.Adam(rate, weight_decay=decay or None)
    ),
    "adamw": lambda o: (
        lambda rate, decay: o.AdamW(rate, weight_decay=decay or 0.004)
    ),
}

# Initial rates and decay policies that differ enough for one of them to suit.
DEFAULTS = (
    Recipe(0.05, "cosine"),
    Recipe(0.01, "cosine"),
    Recipe(0.01, "step"),
)


def as_recipes(given) -> list[Recipe]:
    """A list of recipes from one, several, or None for the defaults."""
    if given is None:
        return list(DEFAULTS)
    recipes = [given] if isinstance(given, Recipe) else given
    recipes = list(recipes) if isinstance(recipes, (list, tuple)) else []
    if not recipes or not all(isinstance(r, Recipe) for r in recipes):
        raise PruningError(
            f"recipes is a tcp.Recipe or a list of them; got {given!r}."
        )
    return recipes
