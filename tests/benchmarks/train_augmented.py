"""Train the demo's tagger without and with deformed copies of its training clips.

    python tests/benchmarks/train_augmented.py --out DIR [--copies 1] [--variants plain longer augmented] [--seeds 0]

Uses the composed corpus and the settings of notebook 03 in the profile demo: vgg_cnn at width 0.125, 50 tags, complete
labels, 9 epochs of one segment from each clip. Variants: ``plain``; ``augmented``, each training clip once as it is and
`--copies` times deformed; ``longer``, without copies, planned for as many steps as ``augmented``. Any of them may stop
early, as in the notebook, and ends with the weights of its best epoch on the validation clips. Deformed
copies and finished trainings are kept, so that an interrupted run resumes. Writes
``DIR/models/tagger_<variant>_<seed>.keras`` with cards, and ``DIR/held_out.csv``: ROC-AUC of all models in that folder
on the held-out clips, as they are and deformed, and the change from the first of them, with 95 % intervals over
artists. Prints the table. Follow with ``bench_agreement.py DIR/models/tagger_plain_0.keras …``.
"""

import argparse
import itertools
import os
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
MODEL, VARIANTS = "vgg_cnn", ("plain", "longer", "augmented")
ROOT = Path(__file__).resolve().parents[2]


def settings():
    """Parameters of notebook 03 in the profile demo."""
    from musictools import runs

    folder = ROOT / "params" / "demo"
    name = "03_compare_taggers"
    return runs.resolve(ROOT / "notebooks" / f"{name}.ipynb", folder / "common.yaml", folder / f"{name}.yaml")


def prepared(parameters):
    """Data, store, labels and split as in notebook 03."""
    from musictools import datasets
    from musictools.datasets import splits
    from musictools.experiments import taggers

    data = datasets.load("composed", n_clips=parameters["n_clips"], seed=parameters["corpus_seed"], workers=1)
    store = taggers.open_stores(data, [MODEL], workers=1)[MODEL]
    ids = data.tracks.index[data.tracks.index.isin(store.ids)]
    shares = {name: parameters[name] for name in ("test_share", "validation_share", "seed")}
    split = splits.tagger_split(data, ids, **parameters["held_out"], labels=data.descriptors, **shares)["part"]
    used = split.isin(["train", "validation", "test"])
    labels = taggers.label_table(data, kind="complete", n_tags=parameters["n_tags"][0], clips=ids[used])
    return data, store, labels, split


def task(variant, parameters, store, labels, split, *, copies, seed):
    """Training of one variant, with the notebook's settings; the seed is that of weights and order."""
    from musictools.experiments import augmentation, taggers

    train = split.index[split == "train"]
    epochs = parameters["epochs"][MODEL] * (1 + copies if variant == "longer" else 1)
    if variant == "augmented":
        split, labels = (augmentation.with_copies(table, train, copies=copies) for table in (split, labels))
    job = taggers.grid(models=[MODEL], n_tags=parameters["n_tags"], labels=["complete"], seed=seed)
    common = {name: parameters[name] for name in ("width", "overrides", "norm_momentum")}
    return taggers.tasks(job, {MODEL: store}, {"complete": labels}, split, epochs=epochs, **common)[0]


def held_out_table(folder, data, labels, split, *, repeats=200):
    """ROC-AUC of every model on the held-out clips, as they are and deformed by another seed.

    The change is that from the first model.
    """
    from musictools import evaluation, inference
    from musictools.experiments import augmentation, jobs

    held_out = split.index[split == "hold_out"]
    unseen = augmentation.Augmentation(seed=1)
    inputs, rows, scores = {}, [], {}
    paths = [path for variant in VARIANTS for path in sorted(folder.glob(f"models/tagger_{variant}_*.keras"))]
    taggers = {path.stem.removeprefix("tagger_"): inference.Tagger.load(path) for path in paths}
    front_end = next(iter(taggers.values())).front_end
    for clip in held_out:
        y, sr = data.audio(clip, sr=front_end.sr)
        inputs = {"as they are": front_end.compute(y), "deformed": front_end.compute(unseen.apply(y, sr, clip, 1))}
        for (name, tagger), (clips, S) in ((a, b) for a in taggers.items() for b in inputs.items()):
            scores.setdefault((name, clips), []).append(tagger.scores(tagger.inputs(None, S=S)).mean(axis=0))
    truth, artists = labels.loc[held_out].to_numpy(), jobs.artists(data.tracks).loc[held_out].to_numpy()

    def macro(name, clips, chosen):
        return float(np.nanmean(evaluation.roc_auc(truth[chosen], np.stack(scores[name, clips])[chosen])))

    for name, clips in scores:

        def measure(chosen, name=name, clips=clips):
            own, base = macro(name, clips, chosen), macro(next(iter(taggers)), clips, chosen)
            return {"roc_auc": own, "change": own - base}

        row, spread = measure(np.arange(len(held_out))), evaluation.bootstrap(measure, artists, repeats=repeats)
        ends = {f"{m}_{end}": getattr(spread[m], end) for m in row for end in ("low", "high")}
        rows.append({"model": name, "clips": clips, "n": len(held_out)} | row | ends)
    return pd.DataFrame(rows)


def main(arguments=None):
    """Deform, train, score."""
    from musictools import evaluation
    from musictools.experiments import augmentation, jobs, tagger_tables, taggers

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--parameters", default="{}", help="other parameters of the notebook, as YAML")
    options = parser.parse_args(arguments)
    parameters = settings() | yaml.safe_load(options.parameters)
    data, store, labels, split = prepared(parameters)
    for seed, variant in itertools.product(options.seeds, options.variants):
        began, own = time.process_time(), store
        if variant == "augmented":
            own = augmentation.deformed_copies(data, store, split.index[split == "train"], copies=options.copies,
                                               folder=options.out / "copies", workers=1)  # fmt: skip
            print(f"{len(own) - len(store)} copies: {time.process_time() - began:.0f} s of CPU", flush=True)
        made = task(variant, parameters, own, labels, split, copies=options.copies, seed=seed)
        result = jobs.run([made], folder=options.out / "work" / variant, workers=1, threads=1)[0]
        clips = tagger_tables.clip_scores(result, join="mean")
        rules = {rule: tagger_tables.rule_thresholds(clips, labels, rule=rule, precision=0.6).to_dict()
                 for rule in tagger_tables.RULES}  # fmt: skip
        scores = evaluation.tag_metrics(clips.truth(labels), clips.hold_out.to_numpy())
        card = taggers.model_card(made, result, data, thresholds=rules, scores={"all": scores})
        path = options.out / "models" / f"tagger_{variant}_{seed}.keras"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(result.model_file, path)
        path.with_suffix(".json").write_text(card.model_dump_json(indent=1), encoding="utf-8")
        print(f"{variant} {seed}: {made.split.eq('train').sum()} clips, {len(result.history)} epochs, "
              f"ROC-AUC {scores['roc_auc']:.3f}, {time.process_time() - began:.0f} s of CPU", flush=True)  # fmt: skip
    table = held_out_table(options.out, data, labels, split)
    table.to_csv(options.out / "held_out.csv", index=False)
    print(table.round(3).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
