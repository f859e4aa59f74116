"""What a program gets to see: in order, once, and nothing lost because it was slow."""

from datetime import UTC, datetime

import pytest
import trio

from trio_chat.client.feed import MOST_ROOMS, QUEUED_ITEMS, Cursor, Feed, Item
from trio_chat.errors import LinkLost
from trio_chat.messages import Called, Event, Gap, Leave, Marked, Page, Say

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def event(seq: int, room: str = "lobby") -> Event:
    return Event(seq, NOON, "alice", Say(room, f"text {seq}"))


def page(first: int, last: int, *, more: bool, id: str = "p", gap: Gap | None = None) -> Page:
    return Page("lobby", tuple(event(seq) for seq in range(first, last + 1)), more, gap, id)


def feed_of(**lasts: int | None) -> Feed:
    """A feed whose rooms stand where it is said."""
    feed = Feed()
    feed.cursors.update({room: Cursor(last) for room, last in lasts.items()})
    return feed


def put(feed: Feed, first: int, last: int, room: str = "lobby") -> None:
    for seq in range(first, last + 1):
        feed.put(event(seq, room))


def taken(feed: Feed) -> list[Item]:
    items = []
    while (item := feed.take_nowait()) is not None:
        items.append(item)
    return items


def seqs(items: list[Item]) -> list[int]:
    return [item.seq for item in items if isinstance(item, Event)]


def test_what_is_put_is_taken_in_the_order_of_arrival() -> None:
    feed = feed_of(lobby=None, attic=None)
    given = [event(5), event(1, "attic"), event(6), event(2, "attic")]
    for item in given:
        feed.put(item)
    assert taken(feed) == given


def test_what_is_no_event_is_not_lost_while_the_queue_is_full() -> None:
    feed = feed_of(lobby=0)
    put(feed, 1, QUEUED_ITEMS)
    late: list[Item] = [
        Marked("lobby", 1),
        Called("tea", "bob", 4),
        Marked("lobby", 2),
        Marked("attic", 7),
    ]
    for item in late:
        feed.put(item)
    items = taken(feed)
    assert items[:QUEUED_ITEMS] == [event(seq) for seq in range(1, QUEUED_ITEMS + 1)]
    assert set(items[QUEUED_ITEMS:]) == set(late[1:]), "the newest stands for those before"


def test_a_server_that_tells_of_rooms_without_end_is_not_listened_to_for_ever() -> None:
    full = feed_of(lobby=0)
    put(full, 1, QUEUED_ITEMS)
    for number in range(MOST_ROOMS + 100):
        full.put(Marked(f"room{number}", 1))
    full.put(Marked("room0", 2))
    assert taken(full)[QUEUED_ITEMS:] == [
        Marked("room0", 2),
        *(Marked(f"room{number}", 1) for number in range(1, MOST_ROOMS)),
    ]
    feed = feed_of()
    for number in range(MOST_ROOMS + 1):
        feed.put(Called(f"room{number}", "bob", 4))
        assert len(taken(feed)) == 1
    feed.put(Called(f"room{MOST_ROOMS}", "bob", 4))
    assert taken(feed) == []
    feed.put(Called("room0", "bob", 4))
    assert len(taken(feed)) == 1, "it is forgotten that it was told"


def test_one_is_called_once_by_what_is_told_again() -> None:
    feed = feed_of()
    for seq in (4, 4, 5, 4):
        feed.put(Called("tea", "bob", seq))
    feed.start_afresh()
    feed.put(Called("tea", "bob", 4))
    calls = [item.seq for item in taken(feed) if isinstance(item, Called)]
    assert calls == [4, 5, 4], "the last one is of another history"


def test_what_was_seen_already_is_not_seen_again() -> None:
    feed = feed_of(lobby=None)
    put(feed, 3, 6)
    put(feed, 1, 7)
    feed.put(Gap("lobby", 1, 7))
    assert taken(feed) == [event(seq) for seq in range(3, 8)]


def test_only_what_comes_after_the_cursor_that_one_joined_with_is_seen() -> None:
    feed = feed_of(lobby=4)
    put(feed, 3, 6)
    assert taken(feed) == [event(5), event(6)]


def test_a_room_that_was_not_joined_is_not_seen() -> None:
    feed = feed_of(lobby=None)
    feed.put(event(1, "attic"))
    feed.put(Gap("attic", 1, 2))
    assert taken(feed) == []


def test_a_hole_is_named_in_a_gap() -> None:
    feed = feed_of(lobby=2)
    feed.put(event(3))
    feed.put(event(7))
    assert taken(feed) == [event(3), Gap("lobby", 4, 6), event(7)]


def test_a_gap_that_the_server_names_is_passed_on() -> None:
    feed = feed_of(lobby=2)
    feed.put(Gap("lobby", 3, 9))
    feed.put(event(10))
    assert taken(feed) == [Gap("lobby", 3, 9), event(10)]


def test_a_page_fills_in_what_did_not_fit_and_the_room_is_live_again() -> None:
    feed = feed_of(lobby=0)
    put(feed, 1, QUEUED_ITEMS + 30)
    seen = taken(feed)
    assert feed.find_behind() == ("lobby", QUEUED_ITEMS)

    feed.expect("p")
    feed.fill(page(QUEUED_ITEMS + 1, QUEUED_ITEMS + 20, more=True))
    feed.put(event(QUEUED_ITEMS + 31))  # too early: the page before it is not complete
    assert feed.find_behind() == ("lobby", QUEUED_ITEMS + 20)
    feed.fill(page(QUEUED_ITEMS + 21, QUEUED_ITEMS + 31, more=False))
    assert feed.find_behind() is None
    feed.put(event(QUEUED_ITEMS + 32))

    assert seqs([*seen, *taken(feed)]) == list(range(1, QUEUED_ITEMS + 33))


def test_no_more_is_queued_than_its_limit() -> None:
    feed = feed_of(lobby=0, attic=None)
    put(feed, 1, QUEUED_ITEMS * 3)
    feed.put(event(1, "attic"))
    assert len(taken(feed)) == QUEUED_ITEMS


def test_a_room_whose_very_first_event_finds_no_room_is_behind_too() -> None:
    feed = feed_of(lobby=0, attic=None)
    put(feed, 1, QUEUED_ITEMS)
    put(feed, 41, 43, "attic")
    taken(feed)
    assert feed.find_behind() == ("attic", 40)


def test_a_gap_that_still_fits_is_not_told_twice() -> None:
    feed = feed_of(lobby=0)
    put(feed, 1, QUEUED_ITEMS - 1)
    feed.put(event(QUEUED_ITEMS + 5))  # its gap takes the last place
    feed.expect("p")
    items = taken(feed)
    feed.fill(page(QUEUED_ITEMS + 5, QUEUED_ITEMS + 5, more=False))

    *_, gap, last = [*items, *taken(feed)]
    assert (gap, last) == (
        Gap("lobby", QUEUED_ITEMS, QUEUED_ITEMS + 4),
        event(QUEUED_ITEMS + 5),
    )


def test_a_page_names_what_is_not_kept_any_more() -> None:
    feed = feed_of(lobby=0)
    put(feed, 1, QUEUED_ITEMS + 1)
    taken(feed)
    feed.expect("p")
    lost = Gap("lobby", QUEUED_ITEMS + 1, QUEUED_ITEMS + 8)
    feed.fill(page(QUEUED_ITEMS + 9, QUEUED_ITEMS + 9, more=False, gap=lost))
    assert taken(feed) == [lost, event(QUEUED_ITEMS + 9)]


def test_a_page_that_does_not_fit_leaves_the_room_behind() -> None:
    feed = feed_of(lobby=0, attic=0)
    put(feed, 1, QUEUED_ITEMS + 1)
    taken(feed)
    put(feed, 1, QUEUED_ITEMS - 5, "attic")
    feed.expect("p")
    feed.fill(page(QUEUED_ITEMS + 1, QUEUED_ITEMS + 10, more=False))
    assert feed.find_behind() == ("lobby", QUEUED_ITEMS + 5)


def test_a_page_that_was_asked_for_otherwise_is_not_queued() -> None:
    feed = feed_of(lobby=0)
    put(feed, 1, QUEUED_ITEMS + 1)
    taken(feed)
    feed.expect("p")
    feed.fill(page(1, 50, more=False, id="by the program"))
    assert taken(feed) == []
    assert feed.find_behind() == ("lobby", QUEUED_ITEMS)


def test_a_room_ends_with_ones_own_leave() -> None:
    feed = feed_of(lobby=0)
    put(feed, 1, 2)
    feed.end("lobby", 3)
    feed.put(Event(3, NOON, "alice", Leave("lobby")))
    put(feed, 4, 5)
    assert seqs(taken(feed)) == [1, 2, 3]
    assert feed.cursors == {}


def test_a_room_whose_leave_was_seen_before_its_ack_ends_too() -> None:
    feed = feed_of(lobby=0)
    put(feed, 1, 3)
    feed.end("lobby", 3)
    put(feed, 4, 5)
    assert seqs(taken(feed)) == [1, 2, 3]


def test_a_room_that_is_left_while_behind_is_seen_up_to_the_leave() -> None:
    feed = feed_of(lobby=0)
    put(feed, 1, QUEUED_ITEMS + 2)
    feed.end("lobby", QUEUED_ITEMS + 2)
    taken(feed)
    feed.expect("p")
    feed.fill(page(QUEUED_ITEMS + 1, QUEUED_ITEMS + 9, more=False))
    assert seqs(taken(feed)) == [QUEUED_ITEMS + 1, QUEUED_ITEMS + 2]
    assert feed.cursors == {}


def test_a_room_that_was_not_joined_can_end() -> None:
    feed_of().end("lobby", 3)


def test_afresh_the_numbers_start_again() -> None:
    feed = feed_of(lobby=None, attic=0)
    put(feed, 500, 501)
    put(feed, 1, QUEUED_ITEMS, "attic")
    taken(feed)
    feed.start_afresh()

    put(feed, 1, 2)
    put(feed, 1, 1, "attic")

    assert taken(feed) == [event(1), event(2), event(1, "attic")]


def test_afresh_and_quiet_one_is_quiet_again() -> None:
    feed = Feed()
    feed.follow("lobby", 7, is_quiet=True)
    feed.follow("attic", 7)
    feed.start_afresh()
    cursors = {room: (at.last, at.is_quiet) for room, at in feed.cursors.items()}
    assert cursors == {"lobby": (None, True), "attic": (None, False)}


def test_only_who_has_left_can_come_quietly_the_next_time() -> None:
    feed = feed_of(lobby=1)
    feed.follow("lobby", None, is_quiet=True)
    assert not feed.cursors["lobby"].is_quiet
    feed.end("lobby", 2)
    feed.follow("lobby", None, is_quiet=True)
    assert feed.cursors["lobby"].is_quiet


def test_a_room_that_has_ended_does_not_come_back_afresh() -> None:
    feed = feed_of(lobby=0)
    put(feed, 1, QUEUED_ITEMS + 1)
    feed.end("lobby", QUEUED_ITEMS + 1)
    feed.start_afresh()
    assert feed.cursors == {}


def test_after_the_end_what_is_queued_is_taken_and_then_the_reason_raised() -> None:
    feed = feed_of(lobby=0)
    put(feed, 1, 2)
    feed.close(LinkLost("gone"))
    put(feed, 3, 3)  # of the last chunk; nobody waits for it

    assert [feed.take_nowait(), feed.take_nowait()] == [event(1), event(2)]
    with pytest.raises(LinkLost, match="gone"):
        feed.take_nowait()


async def test_whoever_waits_for_an_item_is_told_of_the_end(autojump_clock: object) -> None:
    feed = feed_of()

    async def close_later() -> None:
        await trio.sleep(1)
        feed.close(LinkLost("gone"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(close_later)
        with pytest.raises(LinkLost, match="gone"):
            await feed.take()
