"""Rules for layers that the package does not know: the user's own."""

from __future__ import annotations

from tf_channel_prune.channels.rules.base import Rule
from tf_channel_prune.channels.rules.base import register
from tf_channel_prune.errors import PruningError
from tf_channel_prune.graph.kinds import kinds_of


def register_rule(*classes: type):
    """Class decorator: the rule serves these layers (or operations).

    It also serves their subclasses, as long as those leave `call` alone. A
    rule for a class that has one already replaces it.

    Example:

        @tcp.register_rule(MyScale)
        class MyScaleRule(tcp.Rule):
            def label(self, node, scope):
                labels = scope.input(node)
                scope.carry(node, "scale", 0, labels.axis(-1))
                scope.passes(node, labels)

    Args:
        *classes: The layers' classes themselves, not their names.

    Raises:
        PruningError: If what is given, or decorated, is not such a class.
    """
    for cls in classes:
        if not isinstance(cls, type):
            raise PruningError(
                f"register_rule takes classes of layers, got {cls!r}."
            )

    def add(rule: type[Rule]) -> type[Rule]:
        if not (isinstance(rule, type) and issubclass(rule, Rule)):
            raise PruningError(
                f"A rule is a subclass of tcp.Rule; {rule!r} is not."
            )
        if rule.label is Rule.label:
            raise PruningError(
                f"{rule.__name__} needs a label method: it says how channels "
                "pass through the layer."
            )
        return register(*(kinds_of(cls)[0] for cls in classes))(rule)

    return add
