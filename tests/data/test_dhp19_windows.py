"""DHP19's raw side: start and stop, the events between, what is told of damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eventhpe.data.dhp19_raw import DHP19File, fault_texts
from eventhpe.data.dhp19_windows import EventTimes, StartStop, TooManySpecialsError, event_slice, start_stop
from eventhpe.errors import FormatError
from eventhpe.events.blocks import BLOCK_EVENTS
from eventhpe.events.formats.multidavis_writer import MultiDavisWriter, pack_addresses
from tests.data.dhp19_fixture import F1_SPECIALS_US, write_f1

HEADER = (
    b"#!AER-DAT2.0\r\n# AEChip: ch.unizh.ini.jaer.chip.multicamera.MultiDAVIS346BCameraChip\r\n"
    b"# End of Preferences\r\n"
)


def times(first: int, last: int) -> EventTimes:
    return EventTimes(first, last, min(first, last), max(first, last))


def write_words(path: Path, addresses: list[int], t: list[int]) -> Path:
    """Records in any order, with a real header and nothing else."""
    records = np.stack([np.array(addresses, np.uint32), np.array(t, np.uint32)], axis=-1)
    path.write_bytes(HEADER + records.astype(">u4").tobytes())
    return path


def event_words(n: int) -> list[int]:
    k = np.arange(n)
    return pack_addresses(k % 346, k % 260, k % 2, k % 4).tolist()


@pytest.mark.parametrize(
    ("specials", "first", "last", "is_stop"),
    [
        ((1075788910,), 1055513693, 1076195668, True),  # S5_4_2
        ((278928206,), 258344886, 279444627, True),  # S16_2_4
        ((149892732, 149892732, 149892732, 149892733), 146087513, 170713237, False),  # S4_5_7
        ((411324494, 411324494, 411324494, 411324495), 408458645, 429666644, False),  # S12_5_4
    ],
)
def test_marks_of_real_recordings(specials, first, last, is_stop):
    rows = 2000
    found = start_stop(specials, times(first, last), rows)
    mark = specials[0]
    expected = (mark - 10_000 * rows, mark) if is_stop else (mark, mark + 10_000 * rows)
    assert (found.start_us, found.stop_us) == expected
    assert ("stop" in found.rule) == is_stop


def test_every_number_of_special_events():
    events = times(900, 5_000_000)
    pairs = {
        0: (900, 5_000_000),
        1: (1000, 1000 + 30_000),
        2: (1000, 1000 + 30_000),
        3: (1000, 1002),
        4: (1000, 1000 + 30_000),
        5: (1000, 1004),
    }
    for n, pair in pairs.items():
        found = start_stop([1000 + k for k in range(n)], events, 3)
        assert (found.start_us, found.stop_us) == pair, n
    with pytest.raises(TooManySpecialsError, match="6 special events"):
        start_stop([1000] * 6, events, 3)


def test_arithmetic_saturates_as_unsigned():
    assert start_stop((50_000,), times(10, 60_000), 100).start_us == 0  # the stop, 1 s after its start
    late = (1 << 32) - 100
    assert start_stop((late - 50,), times(late - 60, late), 100).stop_us == (1 << 32) - 1


def test_two_marks_and_a_jump_back():
    """S14_1_1: the start, and all up to the latest event."""
    found = start_stop((500, 501), EventTimes(400, 50, 50, 90_000), 7)
    assert (found.start_us, found.stop_us) == (500, 90_000)
    # With one mark the same events count by their extremes.
    assert start_stop((500,), EventTimes(400, 50, 50, 90_000), 7).stop_us == 500 + 70_000


def test_the_survey_of_f1(tmp_path):
    write_f1(tmp_path / "a.aedat")
    survey = DHP19File(tmp_path / "a.aedat", skip_first=True).survey()
    assert survey.num_events == 75_150 and survey.specials_us == F1_SPECIALS_US
    assert (survey.t_first_us, survey.jump_index, survey.backward_steps) == (900_000, None, 0)
    assert (survey.bad_columns, survey.bad_rows, survey.bad_cameras) == (0, 100, 50)
    assert fault_texts(survey) == (
        "100 events with rows beyond 259: dropped",
        "50 events with cameras beyond 3: dropped",
    )
    assert survey.counts.shape == (260, 1384) and survey.counts.sum() == 75_150 - 150
    assert survey.counts[200, 346 + 300] >= 12_000


def test_the_first_record_is_skipped_whatever_it_is(tmp_path):
    words = [0x400, *event_words(5)]
    path = write_words(tmp_path / "a.aedat", words, [9, 10, 11, 12, 13, 14])
    faithful, whole = (DHP19File(path, skip_first=skip).survey() for skip in (True, False))
    assert (faithful.num_events, faithful.specials_us) == (5, ())
    assert (whole.num_events, whole.specials_us) == (5, (9,))
    path = write_words(tmp_path / "b.aedat", event_words(5), [10, 11, 12, 13, 14])
    faithful, whole = (DHP19File(path, skip_first=skip).survey() for skip in (True, False))
    assert (faithful.num_events, faithful.t_first_us) == (4, 11)
    assert (whole.num_events, whole.t_first_us) == (5, 10)


def test_a_first_byte_that_looks_like_a_header_line_is_data(tmp_path):
    word = int(pack_addresses(*(np.array([v]) for v in (0, 118, 0, 0)))[0])  # raw row 141
    assert word >> 24 == ord("#")
    path = write_words(tmp_path / "a.aedat", [word, *event_words(3)], [10, 11, 12, 13])
    assert DHP19File(path, skip_first=True).survey().num_events == 3


def test_a_header_without_a_camera_is_read_as_dhp19(tmp_path):
    path = tmp_path / "a.aedat"
    records = np.array([[w, 10 + k] for k, w in enumerate(event_words(4))], ">u4")
    path.write_bytes(b"#!AER-DAT2.0\r\n# End of Preferences\r\n" + records.tobytes())
    block = next(DHP19File(path, skip_first=False).events(DHP19File(path, skip_first=False).survey(), 0, 4))
    assert block.x.tolist() == [0, 1, 2, 3] and block.camera.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("kept", "told"), [(1, True), (3, True), (4, True), (7, True), (8, False)])
def test_truncated_files(tmp_path, kept, told):
    """Bytes of a last record that is not complete; the authors' reader fails from four on, this one never."""
    write_f1(tmp_path / "a.aedat")
    content = (tmp_path / "a.aedat").read_bytes()
    (tmp_path / "b.aedat").write_bytes(content[: len(content) - 8 + kept])
    survey = DHP19File(tmp_path / "b.aedat", skip_first=True).survey()
    assert survey.num_events == (75_149 if told else 75_150)
    assert any("no complete record" in fault for fault in fault_texts(survey)) == told


def test_a_record_seen_in_a_damaged_recording(tmp_path):
    """Address 0x4C800002 of S11_4_5: row 306, OFF, camera 2."""
    path = write_words(tmp_path / "a.aedat", [*event_words(2), 0x4C800002], [68185250, 68185251, 68185254])
    file = DHP19File(path, skip_first=False)
    survey = file.survey()
    (block,) = file.events(survey, 2, 3)
    assert (int(block.t[0]), int(block.p[0]), int(block.camera[0])) == (68185254, 0, 2)
    assert block.y[0] >= 260 and survey.bad_rows == 1 and survey.counts.sum() == 2


def test_the_slice_is_strict_and_keeps_disorder(tmp_path):
    t = [100, 100, 150, 140, 200, 130, 300, 290, 300]
    path = write_words(tmp_path / "a.aedat", event_words(9), t)
    file = DHP19File(path, skip_first=False)
    survey = file.survey()
    assert event_slice(file, survey, StartStop(100, 300, "")) == (2, 8)
    assert event_slice(file, survey, StartStop(140, 200, "")) == (2, 6)
    assert event_slice(file, survey, StartStop(99, 301, "")) == (0, 9)
    i, j = event_slice(file, survey, StartStop(300, 400, ""))
    assert i >= j
    assert survey.backward_steps == 3 and survey.largest_backward_us == 70
    assert fault_texts(survey)[1] == "3 events are stored after a later one (by up to 70 µs)"


def test_slices_across_blocks(tmp_path):
    n = 2 * BLOCK_EVENTS + 1000
    t = 1_000_000 + 3 * np.arange(n)
    with MultiDavisWriter(tmp_path / "a.aedat", t_offset_us=0) as writer:
        writer.append_merged(t, np.arange(n) % 346, np.arange(n) % 260, np.arange(n) % 2, np.arange(n) % 4)
    file = DHP19File(tmp_path / "a.aedat", skip_first=True)
    survey = file.survey()
    for i, j in ((0, n), (BLOCK_EVENTS, 2 * BLOCK_EVENTS), (5, BLOCK_EVENTS + 7), (n - 3, n - 1)):
        window = StartStop(int(t[i]) - 1, int(t[j - 1]) + 1, "")
        assert event_slice(file, survey, window) == (i, j)
        got = np.concatenate([block.t.copy() for block in file.events(survey, i, j)])
        assert np.array_equal(got, t[i:j])
        inside = np.zeros((260, 1384), np.int64)
        k = np.arange(i, j)
        np.add.at(inside, (k % 260, k % 4 * 346 + k % 346), 1)
        assert np.array_equal(file.counts(survey, i, j), inside)


def test_a_time_jump(tmp_path):
    t = [5_000_000, 5_000_100, 5_000_200, 5_000_300, 1_000, 1_100]
    path = write_words(tmp_path / "a.aedat", event_words(6), t)
    file = DHP19File(path, skip_first=False)
    survey = file.survey()
    assert survey.jump_index == 4 and survey.largest_backward_us == 4_999_300
    assert "time jumps back by up to 4,999,300 µs, first at event 4" in fault_texts(survey)[1]
    # The authors' rule: from equality to equality.
    exact = StartStop(5_000_100, 5_000_300, "")
    assert event_slice(file, survey, exact) == (1, 4)
    between = StartStop(5_000_050, 5_000_300, "")
    with pytest.raises(FormatError, match=r"exactly the start \(5000050 µs\).*time_jump='cut'"):
        event_slice(file, survey, between)
    assert event_slice(file, survey, between, time_jump="cut") == (1, 3)
    # Without the jump's end before its beginning, "cut" still ends there.
    t = [1_000_000, 5_000_000, 5_000_100, 2_000_000, 6_000_000]
    file = DHP19File(write_words(tmp_path / "b.aedat", event_words(5), t), skip_first=False)
    survey = file.survey()
    assert event_slice(file, survey, StartStop(0, 9_000_000, "")) == (0, 5)
    assert event_slice(file, survey, StartStop(0, 9_000_000, ""), time_jump="cut") == (0, 3)
    # A jump between two blocks is found too.
    n = BLOCK_EVENTS
    words, late = event_words(n + 2), 50_000_000
    path = write_words(tmp_path / "c.aedat", words, [*range(late, late + n), 7, 8])
    assert DHP19File(path, skip_first=False).survey().jump_index == n


def test_special_events_keep_their_order_in_the_file(tmp_path):
    words = [*event_words(2), 0x400, *event_words(1), 0x401]
    path = write_words(tmp_path / "a.aedat", words, [900, 901, 905, 902, 300])
    assert DHP19File(path, skip_first=False).survey().specials_us == (905, 300)


def test_what_is_told_of_missing_and_too_many_specials(tmp_path):
    path = write_words(tmp_path / "a.aedat", event_words(4), [1, 2, 3, 4])
    assert "no special event" in fault_texts(DHP19File(path, skip_first=False).survey())[0]
    path = write_words(tmp_path / "b.aedat", [*event_words(1), *[0x400] * 9], list(range(10)))
    assert "9 special events" in fault_texts(DHP19File(path, skip_first=False).survey())[0]
    (tmp_path / "c.aedat").write_bytes(b"not a recording")
    with pytest.raises(FormatError, match=r"c\.aedat"):
        DHP19File(tmp_path / "c.aedat", skip_first=True)
