"""Latency of slim models beside the FLOPs that they have left.

    python benchmarks/latency.py --resnet20 resnet20.keras --tables tables/

For every model two plans are made, one that removes `--ratio` of the FLOPs and
one that removes it of the latency, as a table of measured segments predicts it
(`tcp.measure_latency`; tables are kept in `--tables` and go on where they were
interrupted). The dense model and both slim ones run in turns, one sample each,
so that what slows the machine down slows all of them down; a figure is the
fastest of all runs. Weights are random but for ResNet-20: latency does not
depend on them.
"""

import argparse
import os
import pathlib

MODELS = ("ResNet-20", "MobileNetV2", "ResNet50")


def built(name, resnet20):
    import keras

    if name == "ResNet-20":
        return keras.models.load_model(resnet20) if resnet20 else None
    return getattr(keras.applications, name)(weights=None)


def slim_models(model, table, ratio, divisor):
    """The dense model, then by FLOPs and by latency: `{plan: model}`, costs.

    A plan that no limit allows is left out, and said.
    """
    import numpy as np

    from tf_channel_prune import criteria
    from tf_channel_prune.api import channels_of
    from tf_channel_prune.cost import CostTable
    from tf_channel_prune.errors import TargetError
    from tf_channel_prune.latency.filling import for_one_sample
    from tf_channel_prune.planning import Limits
    from tf_channel_prune.planning import Request

    channels = channels_of(model)
    costs = CostTable(channels, latency=table)
    scores = criteria.scores(channels)
    alive = {"dense": np.ones(channels.unit_count, bool)}
    for of in ("flops", "latency"):
        request = Request(ratio, of=of, limits=Limits(divisor=divisor))
        try:
            choice = request.choose(channels, scores, table=costs)
        except TargetError as error:
            print(error)
            continue
        alive[of] = choice.alive
    left = {
        plan: {of: 1 - costs.removed(kept, of) for of in ("flops", "latency")}
        for plan, kept in alive.items()
    }
    models = {p: for_one_sample(channels, kept) for p, kept in alive.items()}
    return models, left


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--resnet20", help="the trained ResNet-20")
    parser.add_argument("--tables", type=pathlib.Path, default="latency-tables")
    parser.add_argument("--targets", nargs="+", default=["litert"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ratio", type=float, default=0.5)
    parser.add_argument("--divisors", nargs="+", default=["auto"])
    parser.add_argument("--seconds", type=float, default=20)
    flags = parser.parse_args()
    # TensorFlow reads it once, before it computes anything.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(flags.threads))
    from tf_channel_prune import latency
    from tf_channel_prune.api import measure_latency

    print(
        "| model | target | divisor | plan by | FLOPs left | predicted "
        "| ms dense | ms slim | measured |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in flags.models:
        model = built(name, flags.resnet20)
        if model is None:
            print(f"{name} is left out: --resnet20 names its file.")
            continue
        for target in flags.targets:
            table = measure_latency(
                model,
                flags.tables / f"{name}-{target}.json",
                target,
                flags.threads,
            )
            for divisor in flags.divisors:
                models, left = slim_models(
                    model,
                    table,
                    flags.ratio,
                    int(divisor) if divisor.isdigit() else divisor,
                )
                times = latency.in_turns(
                    models.values(), target, flags.threads, flags.seconds
                )
                dense, *slim = (one / 1000 for one in times)
                for plan, own in zip([*models][1:], slim):
                    print(
                        f"| {name} | {target} | {divisor} | {plan} "
                        f"| {left[plan]['flops']:.3f} "
                        f"| {left[plan]['latency']:.3f} | {dense:.2f} "
                        f"| {own:.2f} | {own / dense:.3f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
