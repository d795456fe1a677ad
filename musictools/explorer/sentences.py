"""What the explorer says, as HTML: sentences, tables and bars. Every text from outside is escaped."""

from __future__ import annotations

import base64
import io
import re
import zipfile
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from musictools.explorer.networks import NONE, OWN
from musictools.explorer.places import where

if TYPE_CHECKING:
    from musictools.explorer.controller import Explorer

__all__ = ["COUNTED", "advice", "answer", "effect", "listed", "progress", "reasons", "saved", "scores", "status"]

_GAPS = (
    '<p class="mt-note">The changed song has gaps such as the networks have never met: descriptors that appear only '
    "now may come from the gaps.</p>"
)
COUNTED = (
    '<p class="mt-note">The genres of the first view are those of the tagger: in a section, a genre whose tags do not '
    "exceed their share of the annotated clips has the score 0. This is why a genre's numbers differ from the scores "
    "of its tags.</p>"
)
_MEANINGS = {
    "score": "how sure the network is, from 0 to 1: the mean of all sections",
    "threshold": "a score above it counts as predicted; it was chosen for each descriptor on other songs",
    "sections": "sections whose own score is above the threshold",
    "membership": "how well the descriptors fit songs of the genre, from 0 (not at all) to 1",
    "evidence": "what is heard where the heatmap is: the rest of the song is silenced",
    "rest": "the song without the evidence",
    "before": "score of the song as it is",
    "after": "score of the song with the evidence turned down",
}
_TOP = 12  # descriptors that are listed without being asked for
_FIRST = "Choose a song, or a file of your own (MP3, WAV, FLAC, OGG; at most 50 MB, 15 min)."
_STOPPED = "The song is not explained. Explain begins again."


def listed(explorer: Explorer) -> list[str]:
    """Choose the descriptors that are listed: those chosen or predicted, and those with the highest scores.

    Parameters
    ----------
    explorer : Explorer
        With an explained song.

    Returns
    -------
    tags : list of str
    """
    table = explorer.explanation.descriptors
    wanted = set(table["tag"][:_TOP]) | set(table.loc[table["predicted"], "tag"]) | set(explorer.chosen)
    return [tag for tag in table["tag"] if tag in wanted]


def _bar(share, threshold=None):
    under = threshold is not None and share <= threshold
    mark = "" if threshold is None else f'<i style="left:{100 * threshold:.1f}%"></i>'
    width = 100 * min(max(share, 0), 1)
    return (
        f'<span class="mt-track" aria-hidden="true"><b{" class=mt-under" if under else ""} style="width:{width:.1f}%">'
        f"</b>{mark}</span>"
    )


def _term(word):
    """A word with its meaning, which appears on hovering and on focus."""
    if word not in _MEANINGS:
        return word
    return f'<abbr title="{_MEANINGS[word]}" tabindex="0">{word}</abbr>'


def _table(head, rows):
    cells = "".join(f'<th scope="col">{_term(name)}</th>' for name in head)
    return f"<table><thead><tr>{cells}</tr></thead><tbody>{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table>"


def status(explorer: Explorer) -> str:
    """Say what is wrong, or what to do first.

    Parameters
    ----------
    explorer : Explorer

    Returns
    -------
    html : str
    """
    if explorer.error:
        return f'<p class="mt-error" role="alert">{escape(explorer.error)}</p>'
    if explorer.explanation is None and not explorer.advice and not explorer.busy:
        return f'<p class="mt-advice">{_FIRST if explorer.song is None else _STOPPED}</p>'
    return ""


def progress(explorer: Explorer) -> str:
    """Say what is being done, and which share of it is done.

    Parameters
    ----------
    explorer : Explorer

    Returns
    -------
    html : str
    """
    if not explorer.busy:
        return ""
    now = explorer.progress
    return f'<p role="status">{escape(now.step.capitalize() or "Beginning")} … {now.share:.0%}</p>'


def advice(explorer: Explorer) -> str:
    """Say what to do where there is no network.

    Parameters
    ----------
    explorer : Explorer

    Returns
    -------
    html : str
        Empty where there is one.
    """
    words = re.sub("`(.*?)`", r"<code>\1</code>", escape(explorer.advice))
    return f'<p class="mt-advice">{words}</p>' if words else ""


def answer(explorer: Explorer) -> str:
    """Say which genre the song has, and whether the networks know such music.

    Parameters
    ----------
    explorer : Explorer

    Returns
    -------
    html : str
    """
    explanation, song = explorer.explanation, explorer.song
    if explanation is None:
        return advice(explorer)
    excerpt = len(explanation.y) / explanation.front_end.sr
    part = f"the first {excerpt:.0f} s of {song.length:.0f} s" if song.length - excerpt > 0.5 else f"{excerpt:.0f} s"
    lines = [advice(explorer), f"<h2>{escape(song.title)}</h2>", f'<p class="mt-note">{part}. {escape(song.note)}</p>']
    votes = explanation.votes
    if explanation.genre:
        count = int((votes["genre"] == explanation.genre).sum())
        means = votes.drop(columns=["start", "end", "genre", "score"]).mean().sort_values(ascending=False)
        means = ", ".join(f"{escape(genre)} {_number(score)}" for genre, score in means[:2].items())
        lines.append(
            f"<p><b>{escape(explanation.genre)}</b>: {count} of {len(votes)} sections say so. "
            f"Highest mean scores: {means}.</p>"
        )
    elif explorer.genre != NONE:
        lines.append("<p>No section has a genre.</p>")
    if explanation.familiarity is not None:
        kind = "mt-error" if explanation.familiarity.unlike else "mt-note"
        lines.append(f'<p class="{kind}">{escape(explanation.familiarity.text)}</p>')
    else:
        lines.append(
            '<p class="mt-note">Whether the song is like the music that the network knows is not known: there is no '
            "reference for it (<code>musictools models reference NETWORK FOLDER</code> makes one).</p>"
        )
    speaker = explanation.networks.get("descriptors", {})
    if speaker.get("data"):
        network, data = (escape(str(speaker[name])) for name in ("network", "data"))
        data = "the composed corpus" if data == "composed" else data
        lines.append(f'<p class="mt-note">The descriptors are those of {network}, which learnt from {data}.</p>')
    return "".join(lines)


def scores(explorer: Explorer) -> str:
    """List the descriptors with their scores, and the genres that they fit.

    Parameters
    ----------
    explorer : Explorer
        With an explained song.

    Returns
    -------
    html : str
    """
    explanation, lines = explorer.explanation, []
    scored = explanation.descriptors[explanation.descriptors["tag"].isin(listed(explorer))]
    rows = [
        f"<td>{'● ' if row.predicted else ''}{escape(row.tag)}</td><td>{_bar(row.score, row.threshold)}</td>"
        f'<td class="n">{_number(row.score)}</td><td class="n">{_number(row.threshold)}</td>'
        f'<td class="n">{row.sections} of {len(explanation.sections)}</td>'
        for row in scored.itertuples()
    ]
    head = ("descriptor (● predicted)", "", "score", "threshold", "sections")
    lines.append(f'<div class="mt-columns"><div><h3>Descriptors</h3>{_table(head, rows)}</div>')
    if explanation.membership is not None:
        degrees = explanation.membership.sort_values(ascending=False)
        rows = [f'<td>{escape(g)}</td><td>{_bar(d)}</td><td class="n">{d:.2f}</td>' for g, d in degrees.items()]
        lines.append(
            f"<div><h3>Genres that these descriptors fit</h3>{_table(('genre', '', 'membership'), rows)}</div>"
        )
    return "".join(lines) + "</div>"


def reasons(explorer: Explorer) -> str:
    """Say for every chosen descriptor what its evidence is worth, and whether its heatmap can be trusted.

    Parameters
    ----------
    explorer : Explorer

    Returns
    -------
    html : str
    """
    explanation, lines = explorer.explanation, []
    for tag in explorer.chosen:
        name = escape(tag)
        if tag not in explanation.heatmaps:
            lines.append(f"<p>{name}: the heatmap is being made.</p>")
            continue
        if tag not in explanation.evidence:
            lines.append(f"<p>{name}: its evidence is being made audible.</p>")
            continue
        row = explanation.loop.set_index("tag").loc[tag]
        lines.append(
            f"<p><b>{name}</b>: score {row['clip']:.2f} of the song, {row['evidence']:.2f} of its {_term('evidence')} "
            f"alone, {row['rest']:.2f} of the {_term('rest')}; {_term('threshold')} {row['threshold']:.2f}. "
            f"{_verdict(row, explanation.heatmaps[tag])} {where(explanation, tag)}</p>"
        )
        badge = explanation.badges.get(tag)
        lines.append(_believe(badge, row) if badge else "<p>The heatmap is being tested.</p>")
    return "".join(lines)


def saved(explorer: Explorer) -> str:
    """Say where the page was written, with a link to take it along.

    Parameters
    ----------
    explorer : Explorer

    Returns
    -------
    html : str
        Empty if none was written.
    """
    if not explorer.saved:
        return ""
    folder = Path(explorer.saved).parent
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # the sounds are compressed already
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                archive.write(path, Path(folder.name) / path.relative_to(folder))
    link = f"data:application/zip;base64,{base64.b64encode(buffer.getvalue()).decode()}"
    return (
        f'<p>Written to {escape(str(explorer.saved))}. <a download="{escape(folder.name)}.zip" href="{link}">Download '
        "the page with its sounds</a></p>"
    )


def _number(score):
    """A score with two digits, or three where it is small."""
    return f"{score:.3f}" if 0 < score < 0.1 else f"{score:.2f}"


def _verdict(row, heatmap):
    if not np.any(heatmap):
        return "No section of the song predicts it, so there is no evidence."
    if not row["accepted"]:
        return "It is not predicted for the whole song."
    kept = "is enough" if row["kept"] else "is not enough"
    lost = "is lost without it" if row["lost"] else "is still predicted without it"
    return f"The evidence alone {kept} for the tagger; the descriptor {lost}."


def _believe(badge, row):
    """What badge and evidence say together; a badge begins with "method passes: passes n of m" or "method fails: …"."""
    verdict, _, scores = badge.partition(": ")
    method, passes = verdict.rsplit(" ", 1)
    if passes != "passes":
        words = "<b>Be careful with this heatmap:</b> it does not pass all tests of what a heatmap must depend on."
    elif not row["accepted"]:
        words = "The heatmap depends on what the network learnt."
    elif row["kept"]:
        words = "<b>The heatmap is reliable:</b> it depends on what the network learnt, and what it marks is enough."
    else:
        words = (
            "<b>The heatmap tells a part:</b> it depends on what the network learnt, but more than it marks is needed."
        )
    tests = f"<details><summary>the tests in numbers</summary>{escape(method)} {escape(scores)}.</details>"
    return f'<div class="mt-note">{words} Whether the network is right is another matter.{tests}</div>'


def effect(explorer: Explorer) -> str:
    """Compare the scores before and after evidence was turned down.

    Parameters
    ----------
    explorer : Explorer

    Returns
    -------
    html : str
    """
    if not explorer.tagger:
        return ""
    if not explorer.gains:
        return '<p class="mt-note">Turn down the evidence of a descriptor to see what would change.</p>'
    changed = explorer.changed
    if changed is None:
        return "<p>The changed song is being scored.</p>"
    before, after = (escape(str(name or "none")) for name in changed.genre)
    decision = (
        f"The genre stays {before}." if before == after else f"The genre changes from {before} to <b>{after}</b>."
    )
    moved = (changed.descriptors["after"] - changed.descriptors["before"]).abs().sort_values(ascending=False).index
    lines = [f"<p>{decision}</p>" if len(changed.genres) else "", _GAPS]
    if len(changed.genres) and explorer.genre == OWN:
        lines.append(COUNTED)
    lines.append('<div class="mt-columns">')
    for title, table in (("descriptor", changed.descriptors.loc[moved[: _TOP // 2]]), ("genre", changed.genres)):
        rows = [
            f'<td>{escape(name)}</td><td class="n">{_number(row["before"])}</td>'
            f'<td class="n">{_number(row["after"])}</td>'
            f"<td>{_bar(row['after'], row.get('threshold'))}</td>"
            for name, row in table.iterrows()
        ]
        if rows:
            lines.append(f"<div>{_table((title, 'before', 'after', ''), rows)}</div>")
    return "".join(lines) + "</div>"
