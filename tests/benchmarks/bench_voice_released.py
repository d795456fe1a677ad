"""Which method finds the voice best? A released MagnaTagATune network on MIR-1K, singers apart.

    python tests/benchmarks/bench_voice_released.py [--model won2020-mtat-fcn] [--clips 420] [--full 36] [--minutes M]
        [--steps 150] [--out DIR] [--cache DIR]

Needs ``mir1k`` of the shared data and the installed network (``musictools models add``). Clips are joined to segments
of the network's length; see `musictools.experiments.voices_joined`. The first `--full` segments, the singers taking
turns, get all methods; the others get the cheap ones. Finished segments are kept in `--cache`, so that an interrupted
run resumes; after `--minutes` of CPU time no further segment is begun. The decoder is trained on every second singer
and measured on all.

Prints and writes as CSV: ``down`` (voice 20 dB lower), ``chosen`` (the best map for each measure, chosen on half of the
singers, reported on the others), ``others`` (all methods on the singers on whom nothing was chosen), ``all`` (all
singers), ``equalised`` (the same with the loudness of the mix made equal over time).
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
CONTRAST = "best - no vocals"
CHEAP = [("deep_taylor", "best"), ("lrp_composite", "best"), ("lrp_composite", CONTRAST)]  # on all segments
DEAR = [("lrp_composite", "mean - no vocals"), ("gradient", CONTRAST), ("input_x_gradient", CONTRAST),
        ("smooth_grad", CONTRAST), ("integrated_gradients", CONTRAST)]  # fmt: skip
EVEN = [("lrp_composite", "best"), ("lrp_composite", CONTRAST)]  # on sound of equal loudness, too
POOLED = {"lrp_composite": ("nmf", "textures", "foreground"), "gradient": ("nmf", "textures"), "deep_taylor": ("nmf",)}
FRAMES = 32.0  # deviation of the window in which relevance is pooled: half a second
COMPONENTS = 8
SHOWN = ["method", "target", "form", "segments", *(f"{m}{end}" for m in ("auc", "auc_equal_energy", "auc_time",
         "auc_time_equal") for end in ("", "_low", "_high"))]  # fmt: skip


def chosen_clips(data, n, sr):
    """`n` clips, the singers taking turns, each singer's in the order of their names."""
    from musictools.experiments import voices

    turn = data.tracks.groupby("artist").cumcount().sort_values(kind="stable")
    clips = []
    for name in sorted(turn.index[:n]):
        stems, _ = data.stems(name, sr=sr)
        clips.append(voices.Clip(name, data.tracks.at[name, "artist"], stems["voice"], stems["accompaniment"],
                                 *data.flags(name)))  # fmt: skip
    return clips


def maps_of(segment, networks, painters, *, full):
    """Maps by (method, target); the controls' target is ""."""
    from musictools.experiments import voices_joined, voices_sources

    network = networks[""]
    x, S = network.inputs([segment]), segment.S
    shares = {kind: voices_sources.divide(S, kind, n_components=COMPONENTS)
              for kind in voices_sources.KINDS if full or kind != "foreground"}  # fmt: skip
    maps = {(name, ""): R for name, R in voices_joined.controls(segment).items()}
    maps["fluctuating", ""] = shares["textures"][1]
    if full:
        maps["foreground", ""] = shares["foreground"][0]
    for method, target in CHEAP + (DEAR if full else []):
        maps[method, target] = network.maps(x, method, target)[0]
    for method, target in CHEAP:
        maps[f"{method}/shuffled", target] = networks["shuffled"].maps(x, method, target)[0]
    for (method, target), R in list(maps.items()):
        name, _, shuffled = method.partition("/")
        if (name, target) in CHEAP or method == "gradient":
            for kind in POOLED[name]:
                if kind in shares:
                    label = f"{name} by {kind}" + ("/shuffled" if shuffled else "")
                    maps[label, target] = voices_sources.pooled(R, shares[kind], frames=FRAMES)
    if full:

        def score(spectrograms):
            scaled = network.tagger.front_end.scale(spectrograms)[..., None]
            return network.logits(scaled)[:, network.outputs(x, CONTRAST)[0]]

        for name, values in (("nmf", voices_sources.removed), ("textures", voices_sources.shapley)):
            losses = values(score, S, shares[name])
            maps[f"{values.__name__} {name}", CONTRAST] = np.tensordot(losses, shares[name], axes=1)
    for name, painter in painters.items():
        maps[name, CONTRAST] = painter(x)[0]
    return maps


def rows_of(segment, networks, painters, *, full):
    """One row per map and form; the mix as it is, then at equal loudness."""
    from musictools.experiments import voices_joined

    even, rows = voices_joined.equalised(segment), []
    few = {key: R for key, R in voices_joined.controls(even).items() if key != "random"}
    sounds = {"mix": maps_of(segment, networks, painters, full=full),
              "equalised": {(name, ""): R for name, R in few.items()}}  # fmt: skip
    for method, target in EVEN:
        sounds["equalised"][method, target] = networks[""].maps(networks[""].inputs([even]), method, target)[0]
    for sound, maps in sounds.items():
        about = even if sound == "equalised" else segment
        for (method, target), R in maps.items():
            R = R[:, : len(segment.sung)]
            rows += [{"segment": segment.name, "singer": segment.singer, "sound": sound, "method": method,
                      "target": target, "form": form} | voices_joined.measure(about, smoothed)
                     for form, smoothed in voices_joined.forms(R).items()]  # fmt: skip
    return rows


def in_turns(segments):
    """The segments, the singers taking turns."""
    names = pd.Series([segment.singer for segment in segments])
    return [segments[i] for i in names.groupby(names).cumcount().sort_values(kind="stable").index]


def decoders(network, segments, chosen_on, options):
    """Functions from inputs to masks: the trained decoder, which is kept in the cache, and an untrained one."""
    from musictools.experiments import voices_masks

    settings = voices_masks.Settings(steps=options.steps, area=options.area, variation=options.variation)
    untrained = voices_masks.build(network.model, settings)
    path = options.cache / f"decoder_{settings.area}_{settings.variation}_{settings.steps}.weights.h5"
    if path.is_file():
        painter = voices_masks.build(network.model, settings)
        painter.get_layer("decoder").load_weights(path)
    else:
        x = network.inputs([segment for segment in segments if segment.singer in chosen_on])
        painter, history = voices_masks.train(network.model, x, network.outputs(x, CONTRAST), settings)
        painter.get_layer("decoder").save_weights(path)
        print("decoder, last steps:", {name: round(float(np.mean(v[-10:])), 3) for name, v in history.items()})
    return {"decoder": lambda x: voices_masks.paint(painter, x),
            "decoder/shuffled": lambda x: voices_masks.paint(untrained, x)}  # fmt: skip


def measured(segments, networks, painters, options):
    """Rows of all segments that are in the cache or can be measured in time."""
    rows = []
    for number, segment in enumerate(in_turns(segments)):
        full = number < options.full
        path = options.cache / f"{segment.name.replace('/', '_')}.{'full' if full else 'few'}.json"
        if not path.is_file():
            if time.process_time() > 60 * options.minutes:
                print(f"Out of time after {number} of {len(segments)} segments.")
                break
            part = path.with_suffix(".part")
            part.write_text(json.dumps(rows_of(segment, networks, painters, full=full), default=float))
            part.replace(path)
        rows += json.loads(path.read_text())
    return pd.DataFrame(rows)


def parsed():
    """Options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="won2020-mtat-fcn", help="a released MagnaTagATune network")
    parser.add_argument("--clips", type=int, default=420, help="how many clips")
    parser.add_argument("--full", type=int, default=36, help="how many segments get all methods")
    parser.add_argument("--minutes", type=float, default=1e9, help="CPU time after which no segment is begun")
    parser.add_argument("--steps", type=int, default=150, help="training steps of the decoder; 0: no decoder")
    parser.add_argument("--area", type=float, default=1.0, help="weight of the mask's mean")
    parser.add_argument("--variation", type=float, default=0.2, help="weight of the mask's total variation")
    parser.add_argument("--out", type=Path, default=None, help="folder for the tables")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "bench_voice_released")
    return parser.parse_args()


def main():
    """Measure, print and write."""
    options = parsed()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from musictools import datasets, released, runs
    from musictools.experiments import voices_joined

    shared = runs.shared_data()
    if shared is None or not (shared / "mir1k").is_dir() or options.model not in released.installed():
        print("MIR-1K or the network is not here: nothing is measured.")
        return
    options.cache = options.cache / f"{options.model}_{options.clips}"
    options.cache.mkdir(parents=True, exist_ok=True)
    tagger = released.load(options.model)
    step = 1280 if options.model.endswith("fcn") else tagger.length  # what the FCN's poolings do not drop
    clips = chosen_clips(datasets.load("mir1k", data_dir=shared / "mir1k"), options.clips, tagger.front_end.sr)
    segments = voices_joined.join(clips, tagger, step=step)
    networks = {"": voices_joined.Network(tagger)}
    networks["shuffled"] = voices_joined.Network(tagger, networks[""].inputs(in_turns(segments)[:9]))
    chosen_on, _ = voices_joined.halves(segments)
    painters = decoders(networks[""], segments, chosen_on, options) if options.steps else {}
    down = voices_joined.down_table(networks[""], segments)
    rows = measured(segments, networks, painters, options)
    mix, even = (rows[rows["sound"] == sound] for sound in ("mix", "equalised"))
    tables = {"down": down, "chosen": voices_joined.choose(mix, chosen_on),
              "others": voices_joined.table(mix[~mix["singer"].isin(chosen_on)]), "all": voices_joined.table(mix),
              "equalised": voices_joined.table(even), "rows": rows}  # fmt: skip
    print(f"{options.model}: {len(segments)} segments, {rows['segment'].nunique()} measured; chosen on {chosen_on}; "
          f"{time.process_time() / 60:.1f} CPU minutes")  # fmt: skip
    with pd.option_context("display.width", 250, "display.max_columns", 40, "display.max_rows", 500):
        for name, table in list(tables.items())[:-1]:
            shown = table[[c for c in SHOWN if c in table]] if "auc" in table else table
            print(f"\n{name}\n{shown.round(3).to_string(index=False)}")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, table in tables.items():
            table.to_csv(options.out / f"voice_released_{name}.csv", index=False)


if __name__ == "__main__":
    main()
