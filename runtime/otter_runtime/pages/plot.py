"""Plots as a page has them: the drawing in SVG, its words in HTML around it.

It knows series and scales; it does not know what they measure. The drawing stretches to the page's
width while its words and strokes keep their size, so one plot serves a phone, a screen and paper.
Plots one under the other share their left edge, so that one moment is one line through all of them.

Why not what draws the pages of `verify` and `mimicit`: that is matplotlib, 60 MB that a device does
not have, with colours and sizes that are fixed once drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from otter_runtime.pages.markup import Child, Html, join, tag
from otter_runtime.pages.scale import Scale

WIDTH, HEIGHT = 1000, 100
COLOURS = ("c1", "c2", "c3", "c4", "c5", "c6", "good", "warn", "bad")

Point = tuple[float, float | None]
Shape = Literal["line", "steps", "dots", "rug"]


@dataclass(frozen=True)
class Series:
    """Points by rising x. A `line` or `steps` is broken where y is None; a `rug` has x alone.

    `colour` is one of COLOURS. Without a name it is not in the legend.
    """

    name: str
    points: Sequence[Point]
    colour: str
    shape: Shape = "line"


@dataclass(frozen=True)
class Boxes:
    """Filled boxes (x from, x to, y from, y to): columns, and bars of a timeline."""

    name: str
    boxes: Sequence[tuple[float, float, float, float]]
    colour: str


@dataclass(frozen=True)
class Band:
    """A stretch of x that stands out behind the series."""

    start: float
    end: float
    colour: Literal["warn", "bad"] = "bad"


@dataclass(frozen=True)
class Plot:
    """One drawing. `about` says in a sentence what is to be seen; it is the text beside it.

    `told` is more, for those who hear the page.
    """

    title: str
    unit: str
    about: str
    x: Scale
    y: Scale
    marks: Sequence[Series | Boxes]
    bands: Sequence[Band] = ()
    rem: float = 7.0  # its height
    times: bool = False  # whether the ticks of x are written below it
    told: str = ""

    def html(self) -> Html:
        """The figure."""
        words = tag(
            "figcaption",
            tag("b", self.title),
            tag("span", f" {self.unit}", class_="quiet") if self.unit else None,
            self._legend(),
            tag("span", self.about, class_="plot-about") if self.about else None,
        )
        height = f"height:{self.rem}rem"
        field = tag("div", self._left(), self._drawing(), class_="plot-field", style=height)
        return tag("figure", words, field, self._below() if self.times else None, class_="plot")

    def _legend(self) -> Html | None:
        named = [mark for mark in self.marks if mark.name]
        if not named:
            return None
        return tag("span", *(_swatch(mark) for mark in named), class_="legend")

    def _left(self) -> Html:
        """The words of y's ticks, which those who hear the page are spared."""
        ticks = [(self.y.at(value), self.y.label(value)) for value in self.y.ticks]
        words = [tag("span", word, style=f"bottom:{_percent(at)}") for at, word in ticks]
        return tag("div", *words, class_="plot-y", aria_hidden="true")

    def _below(self) -> Html:
        ticks = [(self.x.at(value), self.x.label(value)) for value in self.x.ticks]
        words = [
            tag("span", word, style=f"left:{_percent(at)}", class_="odd" if number % 2 else None)
            for number, (at, word) in enumerate(ticks)
        ]
        return tag("div", *words, class_="plot-x", aria_hidden="true")

    def _drawing(self) -> Html:
        return tag(
            "svg",
            *(self._band(band) for band in self.bands),
            self._grid(),
            *(self._mark(mark) for mark in self.marks),
            role="img",
            aria_label=" ".join(filter(None, (f"{self.title}.", self.about, self.told))),
            viewBox=f"0 0 {WIDTH} {HEIGHT}",
            preserveAspectRatio="none",
        )

    def _grid(self) -> Html:
        down = [f"M{self._x(value)} 0V{HEIGHT}" for value in self.x.ticks]
        across = [f"M0 {self._y(value)}H{WIDTH}" for value in self.y.ticks]
        return tag("path", d="".join(down + across), class_="grid")

    def _band(self, band: Band) -> Html:
        left, right = self._x(band.start), self._x(band.end)
        width = max(right - left, 2)
        return tag(
            "rect", x=left, y=0, width=round(width, 1), height=HEIGHT, class_=f"band {band.colour}"
        )

    def _mark(self, mark: Series | Boxes) -> Html:
        if isinstance(mark, Boxes):
            return tag("path", d=self._boxes(mark), class_=f"box {mark.colour}")
        draw = {"line": self._line, "steps": self._steps, "dots": self._dots, "rug": self._rug}
        return tag("path", d=draw[mark.shape](mark.points), class_=f"{mark.shape} {mark.colour}")

    def _line(self, points: Sequence[Point]) -> str:
        path, pen = [], "M"
        for x, y in points:
            if y is not None:
                path.append(f"{pen}{self._x(x)} {self._y(y)}")
            pen = "M" if y is None else "L"
        return "".join(path)

    def _steps(self, points: Sequence[Point]) -> str:
        path, pen = [], "M"
        for x, y in points:
            if y is not None:
                path.append(f"M{self._x(x)} {self._y(y)}" if pen == "M" else f"H{self._x(x)}")
                path.append(f"V{self._y(y)}")
            elif pen != "M":
                path.append(f"H{self._x(x)}")
            pen = "M" if y is None else "H"
        return "".join(path)

    def _dots(self, points: Sequence[Point]) -> str:
        # Lines of no length with round ends stay round however the drawing is stretched. Points
        # at one place are one, so that a day's answers are no larger than what can be seen.
        places = {(self._x(x), self._y(y)): None for x, y in points if y is not None}
        return "".join(f"M{x} {y}h0" for x, y in places)

    def _rug(self, points: Sequence[Point]) -> str:
        places = dict.fromkeys(self._x(x) for x, _ in points)
        return "".join(f"M{x} {HEIGHT}v-14" for x in places)

    def _boxes(self, mark: Boxes) -> str:
        path = []
        for start, end, bottom, top in mark.boxes:
            left, right = self._x(start), self._x(end)
            right = round(max(right, left + 2), 1)
            path.append(f"M{left} {self._y(bottom)}V{self._y(top)}H{right}V{self._y(bottom)}Z")
        return "".join(path)

    def _x(self, value: float) -> float:
        return round(self.x.at(value) * WIDTH, 1)

    def _y(self, value: float) -> float:
        return round(HEIGHT - self.y.at(value) * HEIGHT, 1)


def stacked(*plots: Plot) -> Html:
    """Plots that share x, one under the other; only the last has its words."""
    return tag("div", *(plot.html() for plot in plots), class_="plots")


def share_bar(shares: Sequence[tuple[str, float, str]], about: str) -> Html:
    """One line divided by shares (name, value, colour) that need not add up to 1."""
    whole = sum(value for _, value, _ in shares) or 1.0
    parts = [
        tag("i", style=f"width:{_percent(value / whole)}", class_=colour, title=name)
        for name, value, colour in shares
        if value > 0
    ]
    return tag("span", *parts, class_="share", role="img", aria_label=about)


def _swatch(mark: Series | Boxes) -> Child:
    shape = "box" if isinstance(mark, Boxes) else mark.shape
    return join(tag("span", tag("i", class_=f"{shape} {mark.colour}"), mark.name))


def _percent(share: float) -> str:
    return f"{100 * share:.2f}%"
