"""The masks of a whole model, as one boolean per unit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np

from tf_channel_prune import graph as graphs
from tf_channel_prune.channels import INPUT
from tf_channel_prune.channels import Channels
from tf_channel_prune.channels import understood
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph import optimizers
from tf_channel_prune.graph.arrays import to_numpy
from tf_channel_prune.graph.carrying import Carrier
from tf_channel_prune.graph.copies import check_copy


def make_sparse(channels: Channels, alive=None, keep_optimizer=False):
    """A sparse copy of the model that `channels` describes.

    Args:
        channels: The labels of a graph; what is frozen there gets no mask.
        alive: Boolean per unit. Defaults to everything alive.
        keep_optimizer: Whether the new model's optimizer has the state of
            the old one's, masked as the weights are. Defaults to False: the
            same optimizer, started anew.

    Returns:
        A new model with weights of its own; the masked ones are zero.

    Raises:
        VerificationError: If the copy, before anything more is masked, does
            not give what the model gives.
    """
    living = np.ones(channels.unit_count, bool)
    if alive is None:
        alive = living
    if any(node.holder is not None for node in channels.graph.nodes):
        living = Masks(channels.graph.root.model, channels).alive()
    table = np.array([[*living, True], [*alive, True]], bool)
    prunable = np.zeros(channels.unit_count + 1, bool)
    for group in channels.prunable:
        prunable[group.units] = True
    calls: dict[int, list] = {}
    for node in channels.graph.nodes:
        calls.setdefault(id(node.operation), []).append(node)

    carrier = Carrier(channels.graph)
    held: list[tuple] = []

    def hold(node, layer):
        from tf_channel_prune.masking import holders

        carrier.hold(node, layer)
        mine = {
            key: table[:, units]
            for key, units in channels.mask_units(node).items()
            if prunable[units].any()
        }
        if not mine:
            return layer
        before, after = (
            {key: masks[k] for key, masks in mine.items()} for k in (0, 1)
        )
        # Every call of a shared layer has a say: `hold` sees only the first.
        guarded = {
            name
            for call in calls[id(node.operation)]
            for name in _guarded(channels, call)
        }
        watches = any(name == INPUT for name, _ in mine)
        form = channels.form(node) if watches else None
        holder = holders.wrap(
            channels.graph, layer, before, sorted(guarded), form
        )
        held.append((holder, before, after))
        return holder

    sparse = graphs.replay(channels.graph, hold=hold)
    check_copy(channels.graph, sparse, understood)
    for holder, before, after in held:
        if any((before[key] != after[key]).any() for key in after):
            holder.set_masks(after)
    if keep_optimizer:
        carrier.carry(sparse, lambda weight, array: array)
        Masks(sparse).clear_slots(sparse.optimizer)
    return sparse


def copied(model, channels: Channels):
    """A copy of a dense or a sparse model, masks and all.

    Args:
        model: The model.
        channels: Its labels.
    """
    if all(node.holder is None for node in channels.graph.nodes):
        copy = graphs.replay(channels.graph)
        check_copy(channels.graph, copy, understood)
        return copy
    masks = Masks(model, channels)
    return make_sparse(masks.channels, masks.alive())


def _guarded(channels, node) -> list[str]:
    """Weights that contract channels which are not zero when dead."""
    nonzero: set[int] = set()
    for number in node.inputs:
        labels = channels.scope.tensors[number]
        if not labels.zero:
            for vector in labels.axes.values():
                nonzero.update(channels.units(vector).tolist())
    nonzero.discard(-1)
    passed: set[int] = set()
    for number in node.outputs:
        for vector in channels.scope.tensors[number].axes.values():
            passed.update(channels.units(vector).tolist())
    return [
        weight.name
        for weight in node.weights
        if nonzero & _contracted(channels, weight, passed)
    ]


def _owner(node, key):
    """What a mask lies on: a weight's axis, or an operation's input axis."""
    name, axis = key
    if name == INPUT:
        return id(node.operation), axis
    return node.weight(name).key, axis


def _contracted(channels, weight, passed) -> set[int]:
    """Units of a weight's axes that may be summed over.

    What the output carries is passed on (a BatchNormalization's channels),
    unless it lies on two axes (a convolution that is called on its own
    output).
    """
    axes = [
        set(units.tolist())
        for (key, _), units in channels.weight_units.items()
        if key == weight.key
    ]
    either = set().union(*axes)
    both = {unit for unit in either if sum(unit in axis for axis in axes) > 1}
    return (either - passed) | both


class Masks:
    """Reads and sets the masks of a sparse model.

    Args:
        sparse: A sparse model.
        channels: Its labels, if they are known already.

    Attributes:
        channels: The labels of the sparse model's graph. What the model
            holds no masks for (it was excluded when the model was made
            sparse) is frozen in them.
    """

    def __init__(self, sparse, channels: Channels | None = None):
        if channels is None:
            channels = Channels(graphs.read(sparse, understood))
        self.model = sparse
        self.channels = channels
        # A shared layer has a node for every call, but one holder.
        holders = {
            id(node.holder): node
            for node in channels.graph.nodes
            if node.holder is not None
        }
        self._holders = list(holders.values())
        if not self._holders:
            raise PruningError(
                f"Model {sparse.name!r} holds no channel masks: prune it first."
            )
        self.channels = channels.freezing(
            self._without_masks(), "the sparse model holds no masks for it"
        )

    def _without_masks(self):
        """Units that lie on a weight axis which has no mask."""
        held = {
            _owner(node, key)
            for node in self._holders
            for key in node.holder.masks
        }
        bare = [
            units
            for node in self.channels.graph.nodes
            for key, units in self.channels.mask_units(node).items()
            if _owner(node, key) not in held
        ]
        units = np.unique(np.concatenate(bare)) if bare else np.zeros(0, int)
        return units[units >= 0]

    def alive(self) -> np.ndarray:
        """Boolean per unit, from the masks that the model holds.

        Raises:
            PruningError: If the masks of one unit disagree.
        """
        alive = np.ones(self.channels.unit_count + 1, bool)
        held = list(self._held())
        for _, units, (_, mask) in held:
            np.logical_and.at(alive, units, mask)
        alive[-1] = True
        for node, units, (_, mask) in held:
            if (alive[units] != mask).any():
                raise PruningError(
                    f"The masks of {node.name!r} disagree with those of the "
                    "layers around it; they were changed by hand. Set them "
                    "from a plan again."
                )
        return alive[:-1]

    def _held(self):
        """`(node, units, ((weight name, axis), mask))` of every mask."""
        for node in self._holders:
            units = self.channels.mask_units(node)
            for key, mask in node.holder.masks.items():
                if key in units:
                    yield node, units[key], (key, to_numpy(mask) > 0.5)

    def set(self, alive: np.ndarray, optimizer=None) -> None:
        """Sets all masks and zeroes what they mask.

        What was masked stays zero when its unit comes back; `trial` is the
        way to mask for a while.

        Args:
            alive: Boolean per unit.
            optimizer: The one that trains the model, whose slots of masked
                entries are cleared: momentum would move them, and averaged
                weights would bring them back. Defaults to the one that the
                model is compiled with.
        """
        for node, values in self._changes(alive):
            node.holder.set_masks(values)
        if optimizer is None:
            optimizer = getattr(self.model, "optimizer", None)
        self.clear_slots(optimizer)

    def clear_slots(self, optimizer) -> None:
        """Zeroes the optimizer's slots where weights are masked."""
        if optimizer is None:
            return
        entries = {
            weight.key: living
            for weight, living in self.entries(self.alive())
            if not living.all()
        }
        trained = self.model.trainable_variables
        for slot in optimizers.slots(optimizer, trained):
            living = entries.get(id(slot.trained))
            if living is not None and slot.whole:
                value = to_numpy(slot.variable)
                slot.variable.assign(np.where(living, value, 0))

    def entries(self, alive: np.ndarray):
        """`(weight, living)` of every weight that has masks.

        `living` is boolean and broadcasts to the weight's shape: what would
        not be masked if the units in `alive` lived.
        """
        table = np.append(alive, True)
        found: dict[int, list] = {}
        for node, units, ((name, axis), _) in self._held():
            if name == INPUT:
                continue
            weight = node.weight(name)
            shape = np.ones(len(weight.shape), int)
            shape[axis] = -1
            living = table[units].reshape(shape)
            pair = found.setdefault(weight.key, [weight, True])
            pair[1] = pair[1] & living
        return [(weight, living) for weight, living in found.values()]

    @contextlib.contextmanager
    def trial(self, alive: np.ndarray) -> Iterator[None]:
        """Sets all masks for the time of a `with` block.

        Afterwards masks and weights are what they were before; only those
        that the change touches are copied.
        """
        changes = self._changes(alive)
        before = []
        for node, values in changes:
            for key in values:
                mask = node.holder.masks[key]
                before.append((mask, np.array(to_numpy(mask))))
            for name in dict.fromkeys(n for n, _ in values if n != INPUT):
                variable = node.weight(name).variable
                before.append((variable, np.array(to_numpy(variable))))
        try:
            for node, values in changes:
                node.holder.set_masks(values)
            yield
        finally:
            for variable, value in before:
                variable.assign(value)

    def _changes(self, alive):
        """`(node, masks)` of every holder whose masks would change."""
        table = np.append(alive, True)
        changes: dict[int, tuple] = {}
        for node, units, (key, mask) in self._held():
            if (table[units] != mask).any():
                found = changes.setdefault(id(node.holder), (node, {}))
                found[1][key] = table[units]
        return list(changes.values())

    def enforce(self) -> None:
        """Zeroes all that is masked."""
        for node in self._holders:
            node.holder.enforce()

    def check(self) -> None:
        """Makes sure that everything masked is zero.

        Running statistics are not looked at: they describe what a dead
        channel carries, which nothing reads.

        Raises:
            PruningError: If a masked weight is not, with the layer's name.
        """
        for node, _, ((name, axis), mask) in self._held():
            weight = None if name == INPUT else node.weight(name)
            if weight is None or not weight.trainable:
                continue
            masked = np.compress(~mask, to_numpy(weight.variable), axis=axis)
            largest = np.abs(masked.astype("float64")).max(initial=0.0)
            if largest != 0:
                raise PruningError(
                    f"Masked weights of {node.name!r} are not zero: "
                    f"{name} holds {largest:.2g}. Something wrote them after "
                    "the last step of the optimizer (loaded weights, or an "
                    "optimizer that is not Keras'); write only what is kept."
                )


def living_units(model, channels: Channels) -> np.ndarray:
    """Boolean per unit: what the model's masks leave; all, if it has none.

    Args:
        model: A sparse or a dense model.
        channels: Its labels.

    Raises:
        PruningError: If something is masked that `channels` holds frozen.
    """
    if all(node.holder is None for node in channels.graph.nodes):
        return np.ones(channels.unit_count, bool)
    alive = Masks(model, channels).alive()
    for group in channels.groups:
        if group.frozen and not alive[group.units].all():
            raise PruningError(
                f"Channels of {group.name!r} are masked in model "
                f"{model.name!r}, but must stay whole: {group.reason}. Prune "
                "the dense model again, or use the excludes that it was "
                "pruned with."
            )
    return alive
