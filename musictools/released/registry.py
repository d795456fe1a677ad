"""What is known of the released networks before they are here: source, licence, checksum, tags, input."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources

from musictools.spectrograms import FrontEnd, ModelInput

__all__ = ["Release", "describe", "names"]


@dataclass(frozen=True, kw_only=True)
class Release:
    """A network that other people have trained and released.

    Attributes
    ----------
    name : str
    network : {"fcn", "musicnn", "crnn", "choi2018"}
        Which architecture.
    data : str
        Data set that it was trained on, a name of `musictools.datasets`.
    tags : tuple of str
        Names of the outputs.
    input : ModelInput
        Front end, length and step of the segments. Whoever trained it chose the first two, the step is ours.
    source, licence, citation : str
        The authors' repository, their licence, what to cite.
    url : str
        The file, in that repository at a fixed commit.
    sha256 : str
        Checksum of the file.
    size : int
        Bytes of the file.
    """

    name: str
    network: str
    data: str
    tags: tuple[str, ...]
    input: ModelInput
    source: str
    licence: str
    citation: str
    url: str
    sha256: str
    size: int

    @property
    def front_end(self) -> FrontEnd:
        """Front end of the network."""
        return self.input.front_end


def names() -> tuple[str, ...]:
    """Names of the released networks, here or not.

    Returns
    -------
    names : tuple of str

    See Also
    --------
    installed : Those that are here.

    Examples
    --------
    >>> names()[0]
    'won2020-mtat-fcn'
    """
    return tuple(_releases())


def describe(name: str) -> Release:
    """Look up what is known of a released network, without loading TensorFlow.

    Parameters
    ----------
    name : str
        One of `names()`.

    Returns
    -------
    release : Release

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> fcn = describe("won2020-mtat-fcn")
    >>> fcn.licence, fcn.data, len(fcn.tags), fcn.input.shape
    ('MIT', 'magnatagatune', 50, (96, 1813, 1))
    """
    if name not in _releases():
        raise ValueError(f"No released network is called {name!r}. Known: {', '.join(names())}.")
    return _releases()[name]


# 0 dB is a power of 1. Torchaudio sets the lowest power to 1e-10. The highest is that of a full-scale signal: with a
# Hann window of 512 samples, no mel band exceeds 46.9 dB (Parseval), so nothing is clipped at 50 dB.
_FRONT_END = FrontEnd(16000, 512, 256, 96, floor=-100.0, ceiling=50.0, mel_scale="htk", padding="reflect")
_INPUTS = {  # 29 s, and 3 s as in the suite's own musicnn
    "fcn": ModelInput(_FRONT_END, length=1813, step=906),
    "crnn": ModelInput(_FRONT_END, length=1813, step=906),
    "musicnn": ModelInput(_FRONT_END, length=188, step=94),
}
_DATA = {  # as in the names -> data set, commit in which the authors added the files
    "mtat": ("magnatagatune", "1f4d282693ac19cde4d30b86811fe0ae2452f406"),
    "msd": ("million_song", "ffcd1f90b97a1e923a50c6e5283f147cf9dd7dfd"),
    "jamendo": ("mtg_jamendo", "ffcd1f90b97a1e923a50c6e5283f147cf9dd7dfd"),
}
_WON2020 = {
    ("mtat", "fcn"): (1902811, "e89d751202d38c3ae69855782bc27010f87051958dbec64f5aa762364dbac271"),
    ("mtat", "musicnn"): (3257172, "690ace3bb5d49d90dd38fe3ec05a1185350b3bc3742bd7ee941f56b649b2c893"),
    ("mtat", "crnn"): (1687630, "cd22fc70cafd06f8f2bfc7dd795abccb1f4b50d5b09094c39ad100baf87475a3"),
    ("msd", "fcn"): (1902815, "6012aa7eecf864a8081faedca56af054521e8dfb9c5c98659a3dd5d3e1e66f21"),
    ("msd", "crnn"): (1687711, "ebb99855ed0c83f38845db9cfb383dd6fc70938bc58701dcb66e18af9ee7fbea"),
    ("jamendo", "fcn"): (1902815, "7bce08a66dbc70d096b0a330f44b4cacd9aa25519b83489fbb98f2164a194e2b"),
    ("jamendo", "crnn"): (1687626, "0a558989c0793f488cb677d188464c91f47c007f7c70473230e55537ca598215"),
    ("jamendo", "musicnn"): (3257168, "66280f4859376377c47f64313c7ac889a3201fdb06a01bf6e94ac6e619081bb5"),
}


@cache
def _releases():
    known = [_won2020(short, network, *file) for (short, network), file in _WON2020.items()]
    return {release.name: release for release in [*known, _choi2018()]}


def _won2020(short, network, size, sha256):
    data, commit = _DATA[short]
    repository = "minzwon/sota-music-tagging-models"
    return Release(
        name=f"won2020-{short}-{network}",
        network=network,
        data=data,
        tags=_tags(data),
        input=_INPUTS[network],
        source=f"github.com/{repository}",
        licence="MIT",
        citation="Won, Ferraro, Bogdanov and Serra (2020). Evaluation of CNN-based automatic music tagging models. "
        "17th Sound and Music Computing Conference. arXiv:2006.00751",
        url=f"https://raw.githubusercontent.com/{repository}/{commit}/models/{short}/{network}/best_model.pth",
        sha256=sha256,
        size=size,
    )


def _choi2018():
    repository, commit = "keunwoochoi/transfer_learning_music", "bae88053cb16a2f149524f99d9e2976e53636297"
    front_end = FrontEnd(12000, 512, 256, 96, ref="max", floor=-80.0, ceiling=0.0)
    return Release(
        name="choi2018",
        network="choi2018",
        data="million_song",
        tags=_tags("million_song"),
        input=ModelInput(front_end, length=1360, step=1360),
        source=f"github.com/{repository}",
        licence="none stated",
        citation="Choi, Fazekas, Sandler and Cho (2017). Transfer learning for music classification and regression "
        "tasks. 18th International Society for Music Information Retrieval Conference. arXiv:1703.09179",
        url=f"https://raw.githubusercontent.com/{repository}/{commit}/keras2_model/model_best.hdf5",
        sha256="b5042bd44de1fdd9d757b764d9246e6934f47c8bdc5c15bf13566495f3439d48",
        size=1545360,
    )


def _tags(data):
    text = (resources.files("musictools.released") / "tags" / f"{data}.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
