"""The page of a set's statistics: one HTML file with its plots inside, readable offline."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape
from matplotlib.figure import Figure

from otter_tuning.mimicit.json_file import replace_text
from otter_tuning.mimicit.statistics import Statistics

VERBS, NOUNS = 20, 4
LONGEST = 60  # words; longer ones share the last bar


def write_statistics(path: Path, name: str, told: Statistics) -> None:
    """Write the page to `path`."""
    page = Environment(
        loader=PackageLoader("otter_tuning.mimicit", "."), autoescape=select_autoescape()
    ).get_template("statistics_report.html")
    verbs = sorted(told.verbs.items(), key=lambda one: (-one[1].total(), one[0]))[:VERBS]
    plots = {
        "lengths": _lengths(told),
        "media": _media(told),
        "verbs": _verbs(verbs),
    }
    text = page.render(name=name, told=told, plots=plots, verbs=verbs, nouns=NOUNS)
    replace_text(path, text)


def _lengths(told: Statistics) -> str:
    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.add_subplot()
    for label, counts, colour in (
        ("instructions", told.instruction_words, "#7aa6c2"),
        ("answers", told.answer_words, "#b3412d"),
    ):
        shares = [0.0] * (LONGEST + 1)
        for words, count in counts.items():
            shares[min(words, LONGEST)] += count / max(told.pairs, 1)
        axes.step(range(LONGEST + 1), shares, where="mid", label=label, color=colour)
    axes.set_xlabel(f"words ({LONGEST} and more together)")
    axes.set_ylabel("share of pairs")
    axes.legend(frameon=False)
    return _svg(figure)


def _media(told: Statistics) -> str:
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    for place, (label, counts) in enumerate(
        (("pictures of a pair", told.images_each), ("contexts of a pair", told.contexts_each)), 1
    ):
        axes = figure.add_subplot(1, 2, place)
        keys = sorted(counts)
        axes.bar([str(key) for key in keys], [counts[key] for key in keys], color="#7aa6c2")
        axes.set_xlabel(label)
        axes.tick_params(axis="x", labelsize=7)
    return _svg(figure)


def _verbs(verbs: list[tuple[str, Counter[str]]]) -> str:
    figure = Figure(figsize=(8, 0.6 + 0.24 * max(len(verbs), 4)), layout="constrained")
    axes = figure.add_subplot()
    for row, (_, nouns) in enumerate(verbs):
        left = 0
        common = nouns.most_common(NOUNS)
        for place, (noun, count) in enumerate(
            [*common, ("", nouns.total() - sum(dict(common).values()))]
        ):
            axes.barh(row, count, left=left, color=f"C{place}" if noun else "#ddd")
            if noun and count >= 0.06 * verbs[0][1].total():
                axes.text(left + count / 2, row, noun, ha="center", va="center", fontsize=6)
            left += count
    axes.set_yticks(range(len(verbs)), [verb for verb, _ in verbs])
    axes.invert_yaxis()
    axes.set_xlabel("instructions")
    return _svg(figure)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return "<svg" + buffer.getvalue().partition("<svg")[2]
