"""`otter-edge voice`: hears phrases, asks or orders on the bus, and speaks what comes back."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from otter_robots import address
from otter_robots.interrupt import interruptible
from otter_runtime.commands.seconds import seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from otter_robots.adapters.entry import Events
    from otter_robots.client import Client
    from otter_runtime.audio.attendant import Attendant
    from otter_runtime.audio.conversation import Conversation
    from otter_runtime.audio.ear import Ear, Typed

WORDS_PER_MINUTE = range(80, 451)  # espeak-ng's own limits


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--list", action="store_true", help="print this machine's sound devices and end")
    add("--microphone", default="", metavar="DEVICE", help="a part of its name, or its number")
    add("--speaker", default="", metavar="DEVICE", help="a part of its name, or its number")
    add("--phrases", type=Path, metavar="FILE", help="what is listened for (YAML; docs/voice.md)")
    add("--say-plans", action="store_true", help="speak the standing instruction's answers too")
    add("--voice", default="en-us", metavar="NAME", help="of espeak-ng (default: en-us)")
    add("--speed", type=_speed, default=160, metavar="WPM", help="words a minute (default: 160)")
    add("--text", action="store_true", help="read phrases from standard input; nothing is spoken")
    add("--timeout", type=seconds, default=30.0, metavar="S", help="for an answer (default: 30)")
    address.add_arguments(parser)
    add("--json", action="store_true", help="print one JSON object per event")


def run(args: argparse.Namespace) -> int:
    """Listen until an interrupt, which ends with 0; with --text until the last line's answer."""
    interruptible()
    with contextlib.suppress(KeyboardInterrupt):
        if args.list:
            _list(args.json)
        elif args.text:
            _type(args)
        else:
            _talk(args)
    return 0


def _list(as_json: bool) -> None:
    from otter_robots.terminal import printable
    from otter_runtime.audio.sound import Sound

    for device in Sound().devices():
        row = device._asdict()
        line = f"{device.number:>3}  {device.inputs:>3} in {device.outputs:>3} out"
        line += f" {device.rate_hz:>6} Hz  {printable(device.name)}"
        print(json.dumps(row) if as_json else line)


def _type(args: argparse.Namespace) -> None:
    from otter_robots.adapters.entry import Events
    from otter_runtime.audio import phrases
    from otter_runtime.audio.conversation import Conversation
    from otter_runtime.audio.ear import Typed

    events = Events(args.json)
    conversation = Conversation(phrases.read(args.phrases))
    ear = Typed(sys.stdin)
    with address.connect(args, "otter-edge voice") as bus:
        attendant = _attendant(args, ear, lambda _: None, conversation, bus, events)
        while not (ear.ended and attendant.idle):
            attendant.turn()


def _talk(args: argparse.Namespace) -> None:
    """What needs no device comes first, so that a mistake in it is found without one."""
    from otter_robots.adapters.entry import Events
    from otter_runtime.audio import phrases
    from otter_runtime.audio.conversation import Conversation, grammars
    from otter_runtime.audio.ear import Ear
    from otter_runtime.audio.microphone import Microphone
    from otter_runtime.audio.recogniser import Recogniser, Voiced
    from otter_runtime.audio.sound import Sound
    from otter_runtime.audio.speaker import Speaker
    from otter_runtime.audio.synthesiser import Synthesiser
    from otter_runtime.audio.utterance import Segmenter

    events = Events(args.json)
    known = phrases.read(args.phrases)
    conversation = Conversation(known)
    recognise = Recogniser(grammars(known.meanings()), known.sounds())
    synthesise = Synthesiser(args.voice, args.speed)
    sound = Sound()
    speaker = Speaker(sound, synthesise, args.speaker)
    segmenter = Segmenter(Voiced())

    def open_microphone() -> Microphone:
        sound.renew()  # one that was plugged in meanwhile is found
        return Microphone(sound, args.microphone)

    ear = Ear(open_microphone, segmenter, recognise, events)
    with address.connect(args, "otter-edge voice") as bus:
        attendant = _attendant(args, ear, speaker.say, conversation, bus, events)
        attendant.say("I am listening.")
        while True:
            attendant.turn()


def _attendant(
    args: argparse.Namespace,
    ear: Ear | Typed,
    say: Callable[[str], None],
    conversation: Conversation,
    bus: Client,
    events: Events,
) -> Attendant:
    from otter_robots.adapters.asker import Asker, asking
    from otter_runtime.audio.attendant import Attendant
    from otter_runtime.audio.plans import Plans

    asker = Asker(lambda: address.connect(args, "otter-edge voice"), asking(args.timeout, None))
    plans = Plans(bus) if args.say_plans else None
    return Attendant(ear, say, conversation, bus, asker, events, plans)


def _speed(word: str) -> int:
    if not word.isdecimal() or int(word) not in WORDS_PER_MINUTE:
        raise argparse.ArgumentTypeError(f"{word} is no speed; write a number from 80 to 450")
    return int(word)
