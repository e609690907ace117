# Copyright: netbench.cni contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.netbench.cni.plugins.plugin_utils import progress_board
from ansible_collections.netbench.cni.plugins.plugin_utils.progress_board import ASCII, Board

NOON = time.mktime((2026, 1, 2, 12, 0, 0, 0, 0, -1))


def start(trial, scenario="pod_to_pod_tcp", cluster="native", block=1):
    return {"event": "start", "trial": trial, "cluster": cluster, "scenario": scenario, "block": block}


def finish(trial, done, left, status="ok", reason="", headline="1.94 Gbit/s", eta=60.0):
    event = {"event": "finish", "trial": trial, "status": status, "reason": reason, "headline": headline}
    return {**event, "done": done, "left": left, "eta_seconds": eta}


def board_of(*events, symbols=ASCII):
    board = Board(symbols)
    lines = [board.apply(event, NOON) for event in events]
    return board, lines


def test_a_log_gets_one_line_a_trial_and_one_for_plan_note_and_end():
    _board, lines = board_of(
        {"event": "plan", "trials": 3, "seconds": 312},
        start("t1"),
        finish("t1", 1, 2),
        {"event": "note", "text": "native: where 240 flows go (unscored)"},
        start("t2", cluster="flannel", block=2),
        finish("t2", 2, 1, "failed", "server busy", "", 30),
        start("t3", scenario="x", block=2),
        finish("t3", 3, 0, "void", "offered 80 % of the rate", "", 0),
        {"event": "end"},
    )
    assert [line for line in lines if line] == [
        "trials to run: 3, about 5 min 12 s, until 12:05:12",
        "[1/3] pod_to_pod_tcp on native, block 1: 1.94 Gbit/s (until 12:01:00)",
        "native: where 240 flows go (unscored)",
        "[2/3] pod_to_pod_tcp on flannel, block 2: failed: server busy (until 12:00:30)",
        "[3/3] x on native, block 2: void: offered 80 % of the rate (until 12:00:00)",
        "trials done: 1 failed, 1 ok, 1 void",
    ]


def test_the_block_shows_results_trials_under_way_what_is_left_and_when_it_ends():
    board, _lines = board_of(
        {"event": "plan", "trials": 4, "seconds": 100},
        start("t1"),
        finish("t1", 1, 3, eta=45),
        start("t2", cluster="flannel"),
        finish("t2", 2, 2, "failed", "server busy", eta=45),
        start("t3", block=2),
        start("t4", cluster="flannel", block=2),
    )
    assert board.block(NOON + 2.4, 79, 24) == [
        f"{'#' * 17}{'-' * 18}  2 of 4 done, 2 left, until 12:00:45 (43 s)",
        "+ pod_to_pod_tcp on native, block 1: 1.94 Gbit/s",
        "! pod_to_pod_tcp on flannel, block 1: failed: server busy",
        "> pod_to_pod_tcp on native, block 2: 2 s",
        "> pod_to_pod_tcp on flannel, block 2: 2 s",
    ]


def test_the_bar_grows_with_what_is_done_and_fits():
    board, _lines = board_of(start("t1"), finish("t1", 1, 3, eta=45))
    drawn, _two, text = board.block(NOON, 100, 24)[0].partition("  ")
    assert (drawn.count("#"), drawn.count("-")) == (10, 30)
    assert text == "1 of 4 done, 3 left, until 12:00:45 (45 s)"
    assert board.block(NOON, 40, 24)[0] == "1 of 4 done, 3 left, until 12:00:45 (45 "


def test_only_the_last_results_are_kept_and_of_them_what_fits():
    events = [event for i in range(9) for event in (start(f"t{i}", block=i), finish(f"t{i}", i + 1, 9 - i))]
    board, _lines = board_of(*events, start("t9", block=9))
    blocks = [line.split("block ")[1][0] for line in board.block(NOON, 79, 24)[1:]]
    assert blocks == ["4", "5", "6", "7", "8", "9"]
    assert [line[0] for line in board.block(NOON, 79, 3)[1:]] == ["+", ">"]


def test_nothing_is_shown_before_the_first_event_and_after_the_end():
    board, _lines = board_of()
    assert (board.active, board.block(NOON, 79, 24)) == (False, [])
    board, _lines = board_of({"event": "plan", "trials": 1, "seconds": 3}, start("t1"), {"event": "end"})
    assert (board.active, board.block(NOON, 79, 24)) == (False, [])


def test_a_second_plan_begins_anew():
    board, _lines = board_of(start("t1"), finish("t1", 1, 0), {"event": "plan", "trials": 7, "seconds": 10})
    assert [line.partition("  ")[2] for line in board.block(NOON, 79, 24)] == [
        "0 of 7 done, 7 left, until 12:00:10 (10 s)"
    ]


def test_a_finish_whose_start_was_lost_still_counts():
    _board, lines = board_of(finish("b01-native-x", 5, 1))
    assert lines == ["[5/6] b01-native-x: 1.94 Gbit/s (until 12:01:00)"]


def test_what_a_target_printed_cannot_steer_the_terminal():
    _board, lines = board_of(start("t1"), finish("t1", 1, 0, "failed", "bad\x1b[2J\n\x07thing", "", 0))
    assert lines[1] == "[1/1] pod_to_pod_tcp on native, block 1: failed: bad [2J  thing (until 12:00:00)"


def test_an_unknown_event_is_ignored():
    assert board_of({"event": "from a newer engine"}, {})[1] == [None, None]


@pytest.mark.parametrize(("text", "width"), [("abc", 3), ("网络", 4), ("e\u0301", 1), ("─▶✔", 3), ("Ａ", 2)])
def test_columns(text, width):
    assert progress_board.columns(text) == width


@given(st.text(), st.integers(0, 30))
def test_cut_takes_as_much_as_fits_and_no_more(text, width):
    part = progress_board.cut(text, width)
    assert text.startswith(part)
    assert progress_board.columns(part) <= width
    assert part == text or progress_board.columns(text[: len(part) + 1]) > width


@given(st.text(max_size=80), st.integers(1, 100), st.integers(1, 40))
def test_no_line_of_the_block_is_wider_than_the_terminal(name, width, height):
    events = [
        start("t", scenario=name, cluster="甲"),
        finish("t", 1, 2, "failed", name),
        {"event": "note", "text": name},
    ]
    board, _lines = board_of(*events, start("u", scenario=name))
    block = board.block(NOON, width, height)
    assert all(progress_board.columns(line) <= width for line in block)
    assert len(block) <= max(2, height)
    assert all(line.isprintable() for line in block)
