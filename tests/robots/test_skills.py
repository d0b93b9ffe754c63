"""What can be declared, what cannot, and that a text is read back as the call it stands for."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otter_robots.errors import UserError
from otter_robots.skill import CANT_SEE, NO_ACTION, Offer, Parameter, Skill
from otter_robots.skills import Range, Registry, affordance, condition, skill


class Rover:
    def __init__(self) -> None:
        self.clear, self.charge = True, 0.5
        self.driven: list[float] = []

    @skill("Go forward {metres} m.", metres=Range(low=0.5, high=3, step=0.5), requires="path_clear")
    def forward(self, metres: float) -> None:
        self.driven.append(metres)

    @skill("Turn {side}.", "Turn to the {side}.", side=("left", "right"), every_s=1)
    def turn(self, side: str) -> str:
        return side

    @condition
    def path_clear(self) -> bool:
        return self.clear

    @affordance("turn")
    def strength(self) -> float:
        return self.charge


FILE = """
no_action: Wait.
skills:
  forward:
    say: Go forward {metres} m.
    parameters: {metres: {low: 0.5, high: 3, step: 0.5}}
    requires: [path_clear]
  turn:
    say: ["Turn {side}.", "Turn to the {side}."]
    parameters: {side: [left, right]}
    every_s: 1
"""


def test_decorated_methods_become_an_offer_with_affordances_of_now() -> None:
    rover = Rover()
    registry = Registry.of(rover)
    forward, turn = registry.offer().skills
    assert (forward.name, forward.affordance) == ("forward", 1.0)
    assert (turn.texts, turn.affordance) == (("Turn {side}.", "Turn to the {side}."), 0.5)
    rover.clear, rover.charge = False, 0.25
    assert [one.affordance for one in registry.offer().skills] == [0.0, 0.25]
    registry.actions["forward"](metres=1.5)
    assert rover.driven == [1.5]
    rover.charge = 3
    with pytest.raises(UserError, match="affordance of turn is 3"):
        registry.offer()


def test_modules_and_functions_can_be_declared_too() -> None:
    @skill("Stop.")
    def halt() -> None: ...

    module = types.SimpleNamespace(halt=halt)
    assert list(Registry.of(halt).declarations) == list(Registry.of(module).declarations)


def test_words_stand_for_what_the_robot_is_about_now() -> None:
    declared = {"skills": {"left": {"say": ["Turn left: the {thing}.", "{thing}!"]}}}
    registry = Registry.parse(declared, words={"thing": "red box"})
    assert registry.offer().skills[0].texts == ("Turn left: the red box.", "red box!")
    with pytest.raises(UserError, match="name each of them once"):
        Registry.parse(declared)


def test_a_file_says_the_same_as_decorators(tmp_path: Path) -> None:
    path = tmp_path / "skills.yaml"
    path.write_text(FILE)
    registry = Registry.read(path, conditions={"path_clear": lambda: True})
    assert registry.offer().no_action == "Wait."
    decorated = Registry.of(Rover()).declared.skills
    assert registry.declared.skills == decorated
    again = Registry.parse(
        msgspec.json.decode(msgspec.json.encode(registry.skills)),
        conditions={"path_clear": lambda: True},
    )
    assert again.declared == registry.declared


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"say": "Go {far}."}, "name each of them once"),
        ({"say": "Go {metres} or {metres}."}, "name each of them once"),
        ({"say": "Go."}, "name each of them once"),
        ({"say": ""}, "length >= 1"),
        ({"parameters": {"metres": {"low": 3, "high": 1}}}, "low not above high"),
        ({"parameters": {"metres": {"low": 0, "high": 2, "step": 0.001}}}, "more than 1000"),
        ({"parameters": {"metres": {"low": 0, "high": 1, "step": 0}}}, "> 0.0"),
        ({"parameters": {"metres": ["a", "a"]}}, "choice twice"),
        ({"parameters": {"metres": []}}, "give choices"),
        ({"requires": ["nothing"]}, "no condition"),
        ({"affordance": 2}, "<= 1"),
        ({"every": 2}, "did you mean skills.go.every_s"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    declared = {"say": "Go {metres}.", "parameters": {"metres": {"low": 1, "high": 2}}} | change
    path = tmp_path / "skills.json"
    path.write_bytes(msgspec.json.encode({"skills": {"go": declared}}))
    with pytest.raises(UserError, match=said):
        Registry.read(path)


def test_names_and_texts_tell_skills_apart() -> None:
    for first, second, said in (
        (("a", "Go."), ("a", "Come."), "called a"),
        (("a", "Go."), ("b", "Go."), "say 'Go.'"),
        (("a", "Go."), (NO_ACTION, "Nothing."), f"called {NO_ACTION}"),
        (("a", "Go."), ("b", "I can't see it."), "say"),
    ):
        skills = tuple(Skill(name=name, texts=(text,)) for name, text in (first, second))
        with pytest.raises(UserError, match=said):
            Offer(skills=skills).check()
    with pytest.raises(UserError, match="no skill is declared"):
        Registry.parse({"skills": {}})
    with pytest.raises(UserError, match="its function differs"):
        Registry.parse({"skills": {"go": {"say": "Go."}}}, actions={"go": lambda metres: None})
    with pytest.raises(UserError, match="no declared skill"):
        Registry.parse({"skills": {"go": {"say": "Go."}}}, actions={"come": lambda: None})


def test_numbers_are_written_one_way() -> None:
    assert list(Parameter(name="n", low=8, high=11).values().items()) == [
        ("8", 8),
        ("9", 9),
        ("10", 10),
        ("11", 11),
    ]
    tenths = Parameter(name="n", low=-0.1, high=0.2, step=0.1).values()
    assert tenths == {"-0.1": -0.1, "0.0": 0.0, "0.1": 0.1, "0.2": 0.2}
    assert list(Parameter(name="n", low=0.25, high=1, step=0.5).values()) == ["0.25", "0.75"]
    assert list(Parameter(name="n", low=100.0, high=300.0, step=100.0).values()) == [
        "100",
        "200",
        "300",
    ]


ranges = st.builds(
    lambda low, steps, step: Parameter(name="n", low=low / 8, high=(low + steps) / 8, step=step),
    st.integers(-400, 400),
    st.integers(0, 60),
    st.sampled_from([0.125, 0.25, 1.0, 5.0]),
)
chosen = st.lists(st.text("ab c{.|(", min_size=1), min_size=1, max_size=5, unique=True).map(
    lambda texts: Parameter(name="n", choices=tuple(texts))
)


@given(parameter=st.one_of(ranges, chosen), data=st.data())
def test_every_call_is_read_back_from_its_text(parameter: Parameter, data: st.DataObject) -> None:
    made = Skill(name="go", texts=("Go (*) {n}.",), parameters=(parameter,))
    made.check()
    text, value = data.draw(st.sampled_from(list(parameter.values().items())))
    assert made.parse(f"Go (*) {text}.") == {"n": value}
    assert made.parse(f"Go (*) {text}. ") is None
    assert parameter.accept(value) == value


@pytest.mark.parametrize(
    ("low", "high", "step"),
    [
        (0, 1, float("inf")),
        (float("-inf"), 1, float("inf")),
        (float("nan"), 1, 1),
        (0, float("inf"), 1),
        (1e-300, 1, 1),
        (0, 1e300, 1e299),
        (0, 1, 1e-12),
    ],
)
def test_a_number_that_nobody_could_say_is_refused(low: float, high: float, step: float) -> None:
    with pytest.raises(UserError, match="parameter n"):
        Parameter(name="n", low=low, high=high, step=step).check()


def test_what_a_parameter_accepts() -> None:
    metres = Parameter(name="metres", low=0.5, high=3, step=0.5)
    assert metres.accept(1) == 1.0
    assert type(metres.accept(1)) is float
    for wrong in (0.0, 3.5, 0.75, float("nan"), float("inf"), "1.0", True):
        assert metres.accept(wrong) is None
    side = Parameter(name="side", choices=("left", "1"))
    assert side.accept("left") == "left"
    assert [side.accept(wrong) for wrong in ("up", 1, "")] == [None, None, None]


def test_the_two_ways_out_are_always_there() -> None:
    offer = Registry.of(Rover()).offer()
    assert [one.name for one in offer.all] == ["forward", "turn", NO_ACTION, CANT_SEE]
    for text, name in (("Do nothing.", NO_ACTION), ("I can't see it.", CANT_SEE)):
        read = offer.parse(text)
        assert read is not None
        assert read[0].name == name
