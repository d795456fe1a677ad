"""Logits of the networks of Won et al. 2020 in PyTorch, to be compared with in `tests/released/test_won2020.py`.

PyTorch is no dependency of the suite, so that this script has an environment of its own. Nothing of the suite is
imported but `tests/support/won2020_states.py`, which makes random weights and a sound. The modules are written from the
names and shapes in the authors' state dicts and from their paper.

    uv venv --python 3.11 torch-env
    uv pip install --python torch-env/bin/python torch numpy soundfile soxr
    torch-env/bin/python tests/oracles/won2020_oracle.py ../shared/data tests/fixtures/won2020.npz

What the file holds:

- `clips`: paths below the data folder.
- For every network its logits (clips, 50) on the beginning of every clip, 29 s or 3 s. Of clips that are shorter, the
  last column of the spectrogram is repeated, as `musictools.inference.AudioModel` does.
- `random-NETWORK`: logits (1, 50) of a network with random weights on the sound.
- `about`: a JSON object with the versions.
"""

import json
import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
import torch.nn.functional as F  # noqa: N812 - as everybody calls it

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support import won2020_states  # noqa: E402

SR, N_FFT, HOP = 16000, 512, 256
SECONDS = {"fcn": 29, "crnn": 29, "musicnn": 3}


def waveform(path):
    y, sr = soundfile.read(path, dtype="float32", always_2d=True)
    y = y.mean(axis=1, dtype=np.float32)
    return torch.from_numpy(y if sr == SR else soxr.resample(y, sr, SR, quality="HQ").astype(np.float32))


def spectrogram(y, state, n_samples):
    """(1, 1, 96, frames) in dB."""
    y = y[:n_samples]
    window = state["spec.spectrogram.window"]
    spectrum = torch.stft(y, N_FFT, HOP, window=window, center=True, pad_mode="reflect", return_complex=True)
    mel = spectrum.abs().pow(2).T @ state["spec.mel_scale.fb"]
    S = (10 * torch.log10(mel.clamp(min=1e-10))).T
    missing = 1 + n_samples // HOP - S.shape[1]
    return torch.cat([S, S[:, -1:].repeat(1, missing)], dim=1)[None, None]


def norm(x, state, name):
    """Batch normalisation with the running statistics."""
    values = [state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(x, *values, training=False, eps=1e-5)


def convolved(x, state, name, padding):
    convolution = F.conv2d if state[f"{name}.conv.weight"].ndim == 4 else F.conv1d
    x = convolution(x, state[f"{name}.conv.weight"], state[f"{name}.conv.bias"], padding=padding)
    return F.relu(norm(x, state, f"{name}.bn"))


def fcn(x, state):
    for block, pool in enumerate([(2, 4), (2, 4), (2, 4), (3, 5), (4, 4)], start=1):
        x = F.max_pool2d(convolved(x, state, f"layer{block}", 1), pool)
    return F.linear(x.flatten(1), state["dense.weight"], state["dense.bias"])


def crnn(x, state):
    for block, pool in enumerate([2, 3, 4, 4], start=1):
        x = F.max_pool2d(convolved(x, state, f"layer{block}", 1), pool)
    gru = torch.nn.GRU(128, 32, num_layers=2, batch_first=True)
    gru.load_state_dict({k.removeprefix("layer5."): v for k, v in state.items() if k.startswith("layer5.")})
    steps, _ = gru.eval()(x.squeeze(2).transpose(1, 2))
    return F.linear(steps[:, -1], state["dense.weight"], state["dense.bias"])


def musicnn(x, state):
    outputs = []
    for number in range(2):
        outputs.append(convolved(x, state, f"layers.{number}", (0, 3)).amax(dim=2))
    for number in range(2, 5):
        frames = state[f"layers.{number}.conv.weight"].shape[-1]
        outputs.append(convolved(x.mean(dim=2), state, f"layers.{number}", frames // 2))
    front = torch.cat(outputs, dim=1)
    first = convolved(front, state, "layer1", 3)
    second = convolved(first, state, "layer2", 3) + first
    third = convolved(second, state, "layer3", 3) + second
    x = torch.cat([front, first, second, third], dim=1)
    x = torch.cat([x.amax(dim=2), x.mean(dim=2)], dim=1)
    x = F.relu(norm(F.linear(x, state["dense1.weight"], state["dense1.bias"]), state, "bn"))
    return F.linear(x, state["dense2.weight"], state["dense2.bias"])


NETWORKS = {"fcn": fcn, "crnn": crnn, "musicnn": musicnn}


@torch.no_grad()
def main(data, out):
    data = Path(data)
    suffixes = (".ogg", ".mp3")
    folders = [data / "songs", *sorted((data / "gtzan" / "full30").iterdir())]
    clips = [p for folder in folders for p in sorted(folder.iterdir()) if p.suffix in suffixes]
    waveforms = [waveform(clip) for clip in clips]
    results = {}
    for path in sorted((data / "won2020").glob("*.pth")):
        state = torch.load(path, weights_only=True, map_location="cpu")
        network = path.stem.split("_")[1]
        inputs = [norm(spectrogram(y, state, SECONDS[network] * SR), state, "spec_bn") for y in waveforms]
        logits = torch.cat([NETWORKS[network](x, state) for x in inputs])
        results["won2020-" + path.stem.replace("_", "-")] = logits.numpy()
        print(path.stem, tuple(logits.shape))
    for network, function in NETWORKS.items():
        state = {key: torch.from_numpy(value) for key, value in won2020_states.state(network).items()}
        y = torch.from_numpy(won2020_states.sound(SECONDS[network]))
        x = norm(spectrogram(y, state, len(y)), state, "spec_bn")
        results[f"random-{network}"] = function(x, state).numpy()
    about = {"python": sys.version.split()[0], "torch": torch.__version__, "numpy": np.__version__}
    np.savez_compressed(out, clips=[str(clip.relative_to(data)) for clip in clips], about=json.dumps(about), **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
