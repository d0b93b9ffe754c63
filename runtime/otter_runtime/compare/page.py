"""A comparison as one HTML file that is read offline: figures, then every answer with its frames.

It knows how to lay out what others found; nothing in it runs, and nothing is loaded.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from otter_runtime.compare.album import Album, Wanted
from otter_runtime.compare.comparison import Comparison, Side, Stage
from otter_runtime.compare.exchange import Exchange
from otter_runtime.compare.gate import Finding, Verdict
from otter_runtime.compare.pairing import Pair
from otter_runtime.compare.row import Row
from otter_runtime.compare.summary import clocks, counted, paired, percents
from otter_runtime.pages.document import document, section
from otter_runtime.pages.markup import Child, Html, join, said, tag
from otter_runtime.pages.pictures import shown
from otter_runtime.pages.table import facts, table

# So many pairs that differ, and so many that do not, are shown with their pictures.
PICTURED = 300
KIND = {"worse": "bad", "better": "good", "no difference": "good", "within the gate": "warn"}


@dataclass(frozen=True)
class Page:
    """What a page is made of; `albums` are the pictures that a and b saw."""

    comparison: Comparison
    verdict: Verdict
    findings: Sequence[Finding]
    rows: Sequence[Row]
    albums: tuple[Album, Album]

    def html(self) -> str:
        """The whole file."""
        both = self.comparison
        return document(
            f"{both.b.name} against {both.a.name}: {self.verdict}",
            self._head(),
            _runs(both),
            _agreement(both),
            _latency(both),
            self._questions(),
        )

    def _head(self) -> Html:
        both = self.comparison
        held = [
            tag("li", f"{'✓' if one.passed else '✗'} ", one.says, class_=_kind(one.passed))
            for one in self.findings
        ]
        return tag(
            "header",
            tag("p", "b against a", class_="eyebrow"),
            tag("h1", said(both.b.name), " against ", said(both.a.name)),
            tag("p", tag("span", self.verdict, class_=f"badge {KIND[self.verdict]}", id="verdict")),
            tag("ul", held, class_="findings"),
        )

    def _questions(self) -> Html:
        rows = list(zip(self.rows, _pictured([row.pair for row in self.rows]), strict=True))
        cards = [self._card(at, row, pictured) for at, (row, pictured) in enumerate(rows)]
        bare = sum(not pictured for _, pictured in rows)
        about = "Words that only one of both has are marked."
        if bare:
            about += f" {bare} questions are without their pictures, which would be too many."
        only = [
            tag("input", type="checkbox", id="only"),
            tag("label", " only where they differ", for_="only"),
        ]
        return section("questions", "Every question", only, cards, about=about)

    def _card(self, at: int, row: Row, pictured: bool) -> Html:
        pair = row.pair
        where = "" if pair.place.index is None else f"frame {pair.place.index} of "
        head = tag(
            "h3",
            f"{at + 1}. ",
            said(pair.a.question),
            tag("span", f" {where}", said(pair.place.source), class_="quiet"),
        )
        right = row.right or (None, None)
        texts = _marked(pair)
        columns = [
            _column(name, one, text, verdict)
            for name, one, text, verdict in zip("ab", (pair.a, pair.b), texts, right, strict=True)
        ]
        return tag(
            "article",
            head,
            self._frames(pair) if pictured else None,
            tag("div", columns, class_="beside"),
            id=f"question-{at + 1}",
            class_="pair same" if pair.same else "pair differs",
        )

    def _frames(self, pair: Pair) -> Html:
        """Once where both saw the same."""
        a = _strip(_looked_at(pair, pair.a), self.albums[0])
        if self.albums[0] is self.albums[1] and pair.a.frames == pair.b.frames:
            return a
        return tag("div", a, _strip(_looked_at(pair, pair.b), self.albums[1]), class_="beside")


def wanted(pairs: Sequence[Pair]) -> Wanted:
    """The frames that a page of these pairs shows."""
    shown = [pair for pair, pictured in zip(pairs, _pictured(pairs), strict=True) if pictured]
    return (
        {frame for pair in shown for frame in _looked_at(pair, pair.a)},
        {frame for pair in shown for frame in _looked_at(pair, pair.b)},
    )


def _pictured(pairs: Sequence[Pair]) -> Iterator[bool]:
    """Whether each has its pictures."""
    left = {True: PICTURED, False: PICTURED}
    for pair in pairs:
        left[pair.same] -= 1
        yield left[pair.same] >= 0


def _looked_at(pair: Pair, one: Exchange) -> tuple[int, ...]:
    """All frames of an answer, the newest alone where both said the same."""
    return one.frames[-1:] if pair.same else one.frames


def _runs(both: Comparison) -> Html:
    columns = ["", "run", "model", "questions", "answered", "late", "abstained"]
    rows = [_run("a", both.a), _run("b", both.b)]
    whole = table("What was compared", columns, rows, "   nnn")
    return section("runs", "What was compared", whole, about=f"{paired(both)}.")


def _run(name: str, side: Side) -> list[Child]:
    why = ", ".join(f"{count} {reason}" for reason, count in side.reasons.items())
    model = join(said(side.model), " ", tag("code", side.model_hash[:16]))
    counts = (side.questions, side.answered, side.late)
    return [name, said(side.name), model, *counts, said(why or "0")]


def _agreement(both: Comparison) -> Html:
    figures: list[tuple[str, Child]] = [
        ("say the same words", percents(both.agreement)),
        ("say them letter for letter", percents(both.identical)),
        ("words in common", percents(both.likeness)),
        ("b is surer of itself by", percents(both.confidence) if both.confidence else None),
    ]
    first = both.divergence
    if first is None:
        apart: Html = tag("p", "They never part.")
    else:
        link = tag("a", f"question {first.at + 1}", href=f"#question-{first.at + 1}")
        apart = tag("p", "They part first at ", link, f", after {counted(first.words, 'word')}.")
    about = "Shares with their 95 % intervals."
    return section("agreement", "Agreement", facts(figures), apart, about=about)


def _latency(both: Comparison) -> Html | None:
    if not both.stages:
        return None
    columns = ["stage", "a, median", "b, median", "a, p95", "b, p95", "b less a, median", "95 %"]
    whole = table("Milliseconds by stage", columns, map(_stage, both.stages), " nnnnnn")
    about = f"Times: {clocks(both.a, both.b)}."
    return section("latency", "Milliseconds by stage", whole, about=about)


def _stage(one: Stage) -> list[Child]:
    figures = [f"{figure:.1f}" for figure in (one.a_p50, one.b_p50, one.a_p95, one.b_p95)]
    change = one.difference
    return [one.stage, *figures, f"{change.value:+.2f}", f"{change.low:+.2f} to {change.high:+.2f}"]


def _column(name: str, one: Exchange, text: Html, right: bool | None) -> Html:
    mark = None if right is None else tag("b", " ✓" if right else " ✗", class_=_kind(right))
    total = one.timing.get("total_ms")
    told = [
        f"{one.confidence:.1%} sure" if one.confidence is not None else "",
        f"{total:.1f} ms" if total is not None else "",
        "late" if one.late else "",
    ]
    if one.answer is None:
        told = [f"no answer: {one.reason}"]
    return tag(
        "div",
        tag("p", name, mark, class_="quiet"),
        tag("blockquote", tag("bdi", text)),
        tag("p", said(", ".join(filter(None, told))), class_="quiet"),
    )


def _strip(frames: Sequence[int], album: Album) -> Html:
    pictures = [shown(album[frame], f"frame {frame}") for frame in frames if frame in album]
    return tag("div", pictures, class_="strip")


def _marked(pair: Pair) -> tuple[Html, Html]:
    """Both answers, with a mark around the words that only one has."""
    a, b = pair.a.answer, pair.b.answer
    if pair.same or a is None or b is None:
        return join(a), join(b)
    ours, theirs = a.split(), b.split()
    blocks = difflib.SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes()
    return (
        join(_words(ours[i:j], kind != "equal") for kind, i, j, _, _ in blocks),
        join(_words(theirs[k:m], kind != "equal") for kind, _, _, k, m in blocks),
    )


def _words(words: Sequence[str], differ: bool) -> Iterator[Child]:
    if words:
        yield tag("mark", " ".join(words)) if differ else " ".join(words)
        yield " "


def _kind(good: bool) -> str:
    return "good" if good else "bad"
