"""An answer among a robot's skills: every allowed sentence is scored from the same prompt.

What a sentence leaves open (a number, or which sentence at all) is decoded, token by token, among
what the grammar allows; what has to follow is put in one step. It knows sentences and likelihoods;
caches and steps are the loop's.
"""

from __future__ import annotations

from otter_robots.skill import Choice, Offer
from otter_runtime.alternatives import Alternative, Scored, alternatives, decoded, ranked
from otter_runtime.decoding import log_softmax_at
from otter_runtime.engine import Floats
from otter_runtime.grammar import Grammar, Matcher


class Sentence:
    """One allowed sentence: what has to follow follows, where there is a choice the likeliest."""

    def __init__(self, matcher: Matcher, stop: int, most: int, prompt_row: Floats) -> None:
        """`prompt_row` (vocab,) are the logits after the prompt; `most` tokens are put at once."""
        self.ids: list[int] = []
        self.log_likelihood = 0.0
        self.share = 0.0
        self._matcher, self._stop, self._most = matcher, stop, most
        self._put = self._counted = 0
        self._count(prompt_row)

    @property
    def done(self) -> bool:
        """Whether it is complete, and every token of it counted."""
        return self._counted == len(self.ids) and self.ids[-1] == self._stop

    @property
    def width(self) -> int:
        """How many tokens are decided and not yet put, as far as they are put at once."""
        known = len(self.ids) - (self.ids[-1] == self._stop)
        return min(known - self._put, self._most)

    def next(self) -> tuple[int, list[int]]:
        """What is decided and not yet put; never the stop token."""
        put = self._put
        self._put += self.width
        return put, self.ids[put : self._put]

    def hear(self, rows: Floats) -> None:
        """Count the likelihood of what was put already, and decide on."""
        for row in rows:
            self._count(row)

    def _count(self, row: Floats) -> None:
        if self._counted == len(self.ids):
            self._extend(row)
        self.log_likelihood += log_softmax_at(row, self.ids[self._counted])
        self._counted += 1

    def _extend(self, row: Floats) -> None:
        forced = self._matcher.forced()
        if not forced:
            token, share = self._matcher.choose(row)
            forced, self.share = [token], self.share + share
        self.ids += forced


class Deliberation:
    """The sentences that an offer allows, one after the other from the same prompt."""

    def __init__(self, offer: Offer, grammar: Grammar, temperature: float, most: int) -> None:
        """At `most` so many tokens are put at once.

        Raises PromptError where the offer allows too many sentences.
        """
        self.choices: tuple[Choice, ...] = ()
        self.scored: list[Scored] = []
        self._offer, self._grammar, self._temperature = offer, grammar, temperature
        self._most = most
        self._left = alternatives(offer)[::-1]
        self._lead = ""
        self._prompt_row: Floats | None = None
        self._sentence: Sentence | None = None

    @property
    def done(self) -> bool:
        """Whether there is a choice."""
        return bool(self.choices)

    @property
    def begun(self) -> bool:
        """Whether one sentence is through: from then on frames get their turn."""
        return bool(self.scored)

    @property
    def text(self) -> str:
        """The first choice's sentence, nothing before there is one."""
        return self.choices[0].text if self.choices else ""

    @property
    def confidence(self) -> float:
        """The probability of the first choice."""
        return self.choices[0].probability if self.choices else 0.0

    @property
    def width(self) -> int:
        """Of the sentence under way."""
        assert self._sentence is not None
        return self._sentence.width

    def next(self) -> tuple[int, list[int]]:
        """More of the sentence under way, or the next one from its beginning."""
        assert self._sentence is not None
        return self._sentence.next()

    def hear(self, rows: Floats) -> None:
        """Count on; a sentence that is through makes way for the next."""
        if self._prompt_row is None:
            self._prompt_row = rows[-1].copy()  # the engine's own buffer
            self._lead = self._likelier_lead(self._prompt_row)
            self._begin()
        else:
            assert self._sentence is not None
            self._sentence.hear(rows)
        while not self.done and self._sentence is not None and self._sentence.done:
            self._end(self._sentence)

    def _likelier_lead(self, row: Floats) -> str:
        """Whether this model begins an answer with a space, as some were trained to.

        One for all sentences, so that they are compared alike; free words lose it as well.
        """
        first = self._grammar.matcher(f"( )?({'|'.join(one.expression for one in self._left)})")
        token, _ = first.choose(row)
        return " " if self._grammar.text([token]).startswith(" ") else ""

    def _begin(self) -> None:
        assert self._prompt_row is not None
        self._alternative = self._left.pop()
        matcher = self._grammar.matcher(self._lead + self._alternative.expression)
        self._sentence = Sentence(matcher, self._grammar.stop, self._most, self._prompt_row)

    def _end(self, sentence: Sentence) -> None:
        self.scored.append(self._read(self._alternative, sentence))
        if self._left:
            self._begin()
        elif self._offer.rank:
            self.choices = ranked(self.scored, self._temperature)
        else:
            self.choices = decoded(self.scored[0])

    def _read(self, alternative: Alternative, sentence: Sentence) -> Scored:
        text = self._grammar.text(sentence.ids).removeprefix(self._lead)
        skill, arguments = alternative.read(text)
        return Scored(
            skill=skill,
            arguments=arguments,
            text=text,
            log_likelihood=sentence.log_likelihood,
            tokens=len(sentence.ids),
            share=sentence.share,
        )
