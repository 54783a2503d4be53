"""What distillation takes in beside the teacher, and what is one training."""

import keras
import numpy as np
import pytest
import tf_keras

import tf_channel_prune as tcp
from tf_channel_prune.errors import PruningError
from tf_channel_prune.finetune import finetune
from tf_channel_prune.finetune import train_by
from tf_channel_prune.finetune.distillation import output_kind
from tf_channel_prune.finetune.targets import Steps
from tf_channel_prune.finetune.targets import Target

RECIPE = tcp.Recipe(0.05, epochs=2, batch_size=8)
ENTROPY = "SparseCategoricalCrossentropy"


def net(kind=keras, regularizer=None, drop=0.0, heads=1, **how):
    kind.utils.set_random_seed(1)
    layers = kind.layers
    x = image = layers.Input((6,))
    x = layers.Dense(8, activation="relu", kernel_regularizer=regularizer)(x)
    x = layers.Dropout(drop)(x)
    outputs = [layers.Dense(3, name=f"head{n}")(x) for n in range(heads)]
    model = kind.Model(image, outputs if heads > 1 else outputs[0])
    how.setdefault("loss", getattr(kind.losses, ENTROPY)(from_logits=True))
    model.compile("sgd", **how)
    return model


def arrays(*weights):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 6)).astype("float32")
    return x, (x[:, 0] > 0) * 1, *weights


def trained(model, data=None, **how):
    return finetune(model, data or arrays(), recipes=RECIPE, **how).model


def same(one, other):
    pairs = zip(one.get_weights(), other.get_weights(), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


@pytest.mark.parametrize("kind", [keras, tf_keras])
@pytest.mark.parametrize("what", ["sample", "regularizer", "loss"])
def test_what_counts_without_a_teacher_counts_with_one(kind, what):
    plain, other, data = net(kind), net(kind), arrays()
    if what == "sample":
        data = arrays(np.arange(32).astype("float32") % 2)
    elif what == "regularizer":
        other = net(kind, kind.regularizers.L2(10.0))
    else:
        other = net(kind, loss_weights=[1e-3])
    teach = tcp.Distill(net(kind), weight=0.1)
    assert not same(
        trained(plain, distill=teach), trained(other, data, distill=teach)
    )


def test_the_losses_of_a_distilled_epoch_are_told():
    """The shares of the targets and of the teacher make the loss."""
    teach = tcp.Distill(net(), weight=0.25)
    logs = finetune(
        net(), arrays(), recipes=RECIPE, distill=teach
    ).trial.history[-1]
    parts = 0.75 * logs["student_loss"] + 0.25 * logs["distillation_loss"]
    assert logs["loss"] == logs["total_loss"] == pytest.approx(parts, rel=1e-4)
    assert logs["student_loss"] > 0


@pytest.mark.parametrize("kind", [keras, tf_keras])
def test_a_loss_is_known_by_what_it_is(kind):
    entropy = getattr(kind.losses, ENTROPY)
    assert output_kind(entropy(from_logits=True, name="mine")) == "logits"
    assert output_kind([entropy(from_logits=True)]) == "logits"
    assert output_kind({"head": entropy()}) == "probabilities"
    assert output_kind("categorical_crossentropy") == "probabilities"
    named = kind.losses.MeanSquaredError(name="categorical_crossentropy")
    assert output_kind(named) == "values"
    assert output_kind(["mse", entropy()]) == "values"


@pytest.mark.parametrize("kind", [keras, tf_keras])
def test_a_model_of_several_outputs_is_taught(kind):
    x, y = arrays()
    data = x, {"head0": y, "head1": 1 - y}
    entropy = getattr(kind.losses, ENTROPY)(from_logits=True)
    how = {
        "loss": {"head0": entropy, "head1": entropy},
        "loss_weights": {"head0": 1.0, "head1": 0.5},
    }
    model, teacher = named(net(kind, heads=2), how), net(kind, heads=2)
    teacher.set_weights([2 * w for w in teacher.get_weights()])
    own = model.evaluate(*data, batch_size=32, verbose=0)
    own = own[0] if isinstance(own, list) else own
    apart = sum(
        np.mean((np.asarray(one) - np.asarray(model(x)[name])) ** 2)
        for name, one in zip(("head0", "head1"), teacher(x))
    )
    found = finetune(
        model,
        data,
        recipes=tcp.Recipe(0.05, epochs=1, batch_size=32),
        distill=tcp.Distill(named(teacher, how), weight=0.25),
    )
    loss = found.trial.history[0]["loss"]
    assert loss == pytest.approx(0.75 * own + 0.25 * apart, rel=1e-4)


def named(model, how):
    """The same with a dictionary of outputs."""
    kind = tf_keras if isinstance(model, tf_keras.Model) else keras
    outputs = dict(zip(("head0", "head1"), model.outputs))
    model = kind.Model(model.inputs, outputs)
    model.compile("sgd", **how)
    return model


@pytest.mark.parametrize("kind", [keras, tf_keras])
def test_the_loss_of_a_distilled_epoch_is_the_mean_over_its_batches(kind):
    x, y = arrays()
    still = tcp.Recipe(1e-9, epochs=1, batch_size=8)
    whole = tcp.Recipe(1e-9, epochs=1, batch_size=32)
    losses = [
        finetune(
            net(kind), (x, y), recipes=recipe, distill=net(kind)
        ).trial.history[0]["loss"]
        for recipe in (still, whole)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


@pytest.mark.parametrize("kind", [keras, tf_keras])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_features_under_mixed_precision(kind, policy):
    """A head in float32 beside features in half precision."""
    layers = kind.layers
    model = kind.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(8, dtype=policy, name="one"),
            layers.BatchNormalization(dtype=policy, name="norm"),
            layers.Dense(3, dtype="float32", name="head"),
        ]
    )
    loss = getattr(kind.losses, ENTROPY)(from_logits=True)
    model.compile("sgd", loss)
    sparse = tcp.prune(model, 0.3)
    how = {"teacher": model, "features": ["one", "norm"]}
    one, other = (
        trained(sparse, distill=tcp.Distill(**how, features_weight=weight))
        for weight in (0.0, 1.0)
    )
    assert not same(one, other)
    assert np.isfinite(other.get_weights()[0]).all()


@pytest.mark.parametrize("kind", [keras, tf_keras])
@pytest.mark.parametrize(
    ("name", "said"), [("haed0", "like 'head0'"), ("?", "like '")]
)
def test_features_that_do_not_exist(kind, name, said):
    teach = tcp.Distill(net(kind), features=[name])
    with pytest.raises(PruningError, match="no such layer") as error:
        trained(net(kind), distill=teach)
    assert repr(name) in str(error.value) and said in str(error.value)


@pytest.mark.parametrize("kind", [keras, tf_keras])
def test_features_that_will_not_do(kind):
    large = net(kind)
    small = tcp.transform(tcp.prune(large, 0.5))
    small.compile("sgd", large.loss)
    name = small.layers[1].name
    with pytest.raises(PruningError, match="kept their channels"):
        trained(small, distill=tcp.Distill(large, features=[name]))


@pytest.mark.parametrize("kind", [keras, tf_keras])
def test_random_layers_draw_the_same_again(kind):
    model = tcp.prune(net(kind, drop=0.5), 0.3)
    loss = net(kind).loss
    model.compile("sgd", loss)

    def train(student):
        student.compile("sgd", loss)
        student.fit(*arrays(), verbose=0)

    for seed, expected in ((0, True), (1, False)):
        one = trained(model)
        kind.utils.set_random_seed(seed + 7)
        assert same(one, trained(model, seed=seed)) == expected
        own = train_by(model, train).model
        assert same(own, train_by(model, train, seed=seed).model) == expected


def test_a_training_that_was_not_scored_is_scored(tmp_path):
    """Before, one without a score counted as one of score 0."""
    model, calls = net(), []

    def evaluate(student):
        calls.append(student)
        return -float(len(calls))

    how = {"folder": tmp_path, "recipes": RECIPE}
    assert finetune(model, arrays(), **how).trial.score is None
    for _ in range(2):  # the second time it is known
        found = finetune(model, arrays(), evaluate=evaluate, **how)
        assert found.trial.score == -1.0
    assert len(calls) == 1


def test_linear_steps_towards_the_smallest_model_stay_below_all():
    steps = Steps(Target(max_drop=0.5, steps="linear", step=0.4))
    asked = []
    for _ in range(4):
        asked.append(steps.next())
        steps.note(accepted_round(asked[-1]))
    assert asked == pytest.approx([0.4, 0.8, 0.9, 0.95])


def accepted_round(achieved):
    class Done:
        accepted = True

    Done.achieved = achieved
    return Done
