"""Files cut off and damaged anywhere: what was synced, and is not damaged itself, is read."""

from __future__ import annotations

import hashlib
import random
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from mcap.reader import make_reader

from otter_robots.envelope import seal
from otter_robots.messages import Answer, Fault
from otter_runtime.errors import RecordError, TrialError
from otter_runtime.report.integrity import TORN, state
from otter_runtime.trials.about import about
from otter_runtime.trials.channels import channels, enveloped
from otter_runtime.trials.check import check
from otter_runtime.trials.repair import repair
from otter_runtime.trials.salvage import Salvage
from otter_runtime.trials.segment import PART, Segment
from otter_runtime.trials.trial import Trial
from otter_runtime.trials.verified import promote

ANSWERS = 12


def an_answer(seq: int) -> bytes:
    message = Answer(
        text=f"Answer {seq}: turn left, then look for the yellow box.",
        frame_ids=(seq,),
        captured_mono_ns=seq,
        captured_wall_ns=seq,
        age_ms=1.0,
        ttl_ms=3000.0,
        model_hash="0" * 64,
    )
    return enveloped(seal(message, topic="answer", epoch="1-a", seq=seq), message)


def a_fault(seq: int) -> bytes:
    message = Fault(code="camera-black", detail="the picture is black")
    return enveloped(seal(message, topic="fault", epoch="1-a", seq=seq), message)


class Written:
    """A segment with an answer and a fault per sync, and where each sync ended."""

    def __init__(self, folder: Path) -> None:
        known = about("trial", {"config.json": b"{}"})
        used = [channels()[topic] for topic in ("/answer", "/fault")]
        self.segment = Segment(folder / "0000.mcap", used, known)
        self.part = folder / f"0000.mcap{PART}"
        self.begun = self.part.stat().st_size
        self.ends = []
        for seq in range(1, ANSWERS + 1):
            now_ns = known.log_ns(known.mono_ns + seq)
            self.segment.add("/answer", an_answer(seq), now_ns, now_ns, 2 * seq - 1)
            self.segment.add("/fault", a_fault(seq), now_ns, now_ns, 2 * seq)
            self.segment.sync()
            self.ends.append(self.part.stat().st_size)

    def within(self, chunk: int) -> int:
        """A place in the middle of the compressed messages of a chunk (from 0)."""
        return (self.ends[chunk - 1] + self.ends[chunk]) // 2 if chunk else self.ends[0] - 400


@pytest.fixture
def written(tmp_path: Path) -> Written:
    folder = tmp_path / "trial"
    folder.mkdir()
    return Written(folder)


def seqs(path: Path) -> list[int]:
    """The seqs of the answers that can be read."""
    return [record.fields["seq"] for record in Trial(path).records({"/answer"})]


def test_cut_off_at_every_byte_it_has_every_answer_synced_before(
    written: Written, tmp_path: Path
) -> None:
    whole = written.part.read_bytes()
    torn = tmp_path / f"torn.mcap{PART}"
    synced = ANSWERS - 2
    for length in range(written.ends[synced - 1], written.ends[synced]):
        torn.write_bytes(whole[:length])
        assert seqs(torn)[:synced] == list(range(1, synced + 1)), length


def test_cut_off_anywhere_it_has_every_answer_synced_before(
    written: Written, tmp_path: Path
) -> None:
    whole = written.part.read_bytes()
    torn = tmp_path / f"torn.mcap{PART}"
    dice = random.Random(3)
    for _ in range(60):
        length = dice.randrange(written.begun, len(whole))
        torn.write_bytes(whole[:length])
        synced = sum(end <= length for end in written.ends)
        # A chunk may be whole before its sync is over.
        read = seqs(torn)
        assert read == list(range(1, len(read) + 1))
        assert synced <= len(read) <= synced + 1, length


@pytest.mark.parametrize("chunk", range(1, ANSWERS))
def test_a_finished_file_is_damaged_wherever_that_is_and_never_torn(
    written: Written, chunk: int
) -> None:
    crc = written.segment.finish({})
    promote(written.part, written.segment.path, crc)
    data = bytearray(written.segment.path.read_bytes())
    begin = written.ends[chunk - 1]
    data[begin : begin + 100] = bytes(100)  # the chunk's head, so that its length is unknown
    written.segment.path.write_bytes(data)
    found = check(written.segment.path.parent)
    (harm,) = found.files[0].harms
    assert harm.why != TORN
    assert state(found, "") == "damaged"
    assert len(seqs(written.segment.path)) == ANSWERS - 1


def test_garbage_behind_the_last_sync_changes_nothing(written: Written, tmp_path: Path) -> None:
    torn = tmp_path / f"torn.mcap{PART}"
    torn.write_bytes(written.part.read_bytes() + np.random.default_rng(0).bytes(5000))
    assert seqs(torn) == list(range(1, ANSWERS + 1))


def test_a_damaged_byte_costs_its_own_chunk_at_most(written: Written, tmp_path: Path) -> None:
    whole = written.part.read_bytes()
    hurt = tmp_path / "hurt.mcap"
    dice = random.Random(5)
    costs = 0
    for _ in range(150):
        at = dice.randrange(written.begun, len(whole))
        hurt.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << dice.randrange(8)]) + whole[at + 1 :])
        chunk = sum(end <= at for end in written.ends) + 1
        read = seqs(hurt)
        assert set(range(1, ANSWERS + 1)) - set(read) <= {chunk}, at
        costs += len(read) < ANSWERS
    assert costs > 30  # most of the bytes do matter


def test_the_keys_to_all_chunks_survive_the_loss_of_the_first(
    written: Written, tmp_path: Path
) -> None:
    whole = bytearray(written.part.read_bytes())
    whole[written.within(0)] ^= 0xFF
    hurt = tmp_path / "hurt.mcap"
    hurt.write_bytes(whole)
    assert seqs(hurt) == list(range(2, ANSWERS + 1))


def test_damage_is_told_with_what_was_in_it(written: Written, tmp_path: Path) -> None:
    whole = bytearray(written.part.read_bytes())
    chunk = Salvage(written.part)
    starts = [one.start for one in chunk.chunks()]
    whole[starts[4] + 100] ^= 0xFF
    (tmp_path / "hurt.mcap").write_bytes(whole)
    (harm,) = check(tmp_path / "hurt.mcap").files[0].harms
    assert harm.start == starts[4]
    assert harm.messages == {"/answer": 1, "/fault": 1}
    report = check(tmp_path / "hurt.mcap")
    assert report.missing == 2
    assert report.gaps == {"answer": 1, "fault": 1}
    assert not report.whole


def test_a_finished_file_is_whole_and_any_reader_opens_it(written: Written) -> None:
    crc = written.segment.finish({"lost": "0"})
    path = written.part.with_suffix("")
    promote(written.part, path, crc)
    report = check(path.parent)
    assert report.whole
    assert report.topics == {"/answer": ANSWERS, "/fault": ANSWERS}
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        read = [json_of(message.data) for _, _, message in reader.iter_messages(["/answer"])]
        summary = reader.get_summary()
    assert [one["seq"] for one in read] == list(range(1, ANSWERS + 1))
    assert summary is not None
    assert len(summary.chunk_indexes) == ANSWERS
    assert {channel.topic for channel in summary.channels.values()} == {"/answer", "/fault"}


@pytest.mark.parametrize("bit", range(8))
def test_a_finished_file_with_a_wrong_bit_keeps_its_temporary_name(
    written: Written, bit: int
) -> None:
    crc = written.segment.finish({})
    whole = written.part.read_bytes()
    dice = random.Random(bit)
    for at in [0, len(whole) - 1, *(dice.randrange(len(whole)) for _ in range(50))]:
        written.part.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
        with pytest.raises(RecordError, match="not what was written"):
            promote(written.part, written.part.with_suffix(""), crc)
    assert written.part.exists()


def test_repaired_it_is_whole_but_for_what_is_gone(written: Written, tmp_path: Path) -> None:
    whole = written.part.read_bytes()
    at, cut = written.within(2), written.ends[7] + 10
    written.part.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 : cut])
    before, after = repair(written.part.parent, tmp_path / "repaired")
    assert [file.finished for file in before.files] == [False]
    assert [file.finished for file in after.files] == [True]
    assert not after.files[0].harms
    assert after.topics == before.topics == {"/answer": 7, "/fault": 7}
    assert seqs(tmp_path / "repaired") == [1, 2, 4, 5, 6, 7, 8]
    with (tmp_path / "repaired" / "0000.mcap").open("rb") as file:
        assert sum(1 for _ in make_reader(file, validate_crcs=True).iter_messages()) == 14
    assert Trial(tmp_path / "repaired").attachments == {"config.json": b"{}"}
    with pytest.raises(TrialError, match="not empty"):
        repair(written.part.parent, tmp_path / "repaired")


def test_a_file_that_is_lost_altogether_costs_itself_alone(
    written: Written, tmp_path: Path
) -> None:
    lost = written.part.parent / "0001.mcap"
    lost.write_bytes(bytes(5000))
    report = check(written.part.parent)
    assert [(file.name, file.messages) for file in report.files] == [
        (written.part.name, 2 * ANSWERS),
        (lost.name, 0),
    ]
    assert report.files[1].harms[0].why == "this is no MCAP file"
    assert not report.whole
    assert seqs(written.part.parent) == list(range(1, ANSWERS + 1))
    _, after = repair(written.part.parent, tmp_path / "repaired")
    assert [file.name for file in after.files] == ["0000.mcap"]


def test_a_file_that_lost_what_it_is_of_still_has_its_messages(
    written: Written, tmp_path: Path
) -> None:
    data = bytearray(written.part.read_bytes())
    name = re.search(rb"trial.{0,12}format", data, re.DOTALL)  # metadata, which stands there once
    assert name
    data[name.end() : name.end() + 60] = bytes(60)
    written.part.write_bytes(data)
    trial = Trial(written.part.parent)
    assert (trial.metadata, trial.name) == ({}, written.part.parent.name)
    assert seqs(written.part.parent) == list(range(1, ANSWERS + 1))
    _, after = repair(written.part.parent, tmp_path / "repaired")
    assert after.topics == {"/answer": ANSWERS, "/fault": ANSWERS}


def test_each_file_has_its_hash(written: Written) -> None:
    (file,) = check(written.part.parent).files
    assert file.sha256 == hashlib.sha256(written.part.read_bytes()).hexdigest()


@pytest.mark.parametrize("content", [b"", b"no mcap", bytes(5000)])
def test_what_is_no_trial_is_refused_in_a_sentence(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.mcap").write_bytes(content)
    with pytest.raises(TrialError, match="no MCAP file"):
        check(tmp_path)


def test_a_folder_of_trials_is_no_trial(tmp_path: Path) -> None:
    (tmp_path / "20260101T000000Z-abcd").mkdir()
    with pytest.raises(TrialError, match="20260101T000000Z-abcd"):
        check(tmp_path)


def json_of(data: bytes) -> dict[str, object]:
    found: dict[str, object] = msgspec.json.decode(data)
    return found
