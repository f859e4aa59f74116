"""What a connection speaks, told from its first bytes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.doors.tongue import VERBS, Tongue, tongue_of

SPOKEN = [
    (b"", None),
    (b"{", Tongue.LINES),
    (b'{"type":"hello","name":"alice"}\n', Tongue.LINES),
    (b' {"type":"hello","name":"alice"}\n', Tongue.LINES),
    (b"\r\n", Tongue.LINES),
    (b"G", None),
    (b"P", None),
    (b"POST", None),
    (b"GET ", Tongue.HTTP),
    (b"POST /hooks/x HTTP/1.1\r\n", Tongue.HTTP),
    (b"OPTIONS * HTTP/1.1\r\n", Tongue.HTTP),
    (b"get / HTTP/1.1\r\n", Tongue.NONE),
    (b"GETTING", Tongue.NONE),
    (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Tongue.NONE),
    (b"\x16\x03\x01\x02\x00\x01", Tongue.TLS),
    (b"\x15\x03\x01", Tongue.NONE),
    (b"SSH-2.0-OpenSSH_9.2\r\n", Tongue.NONE),
    (b"NICK alice\r\n", Tongue.NONE),
    (b"\xef\xbb\xbf{", Tongue.NONE),
    (b"[1]", Tongue.NONE),
    (b"hello\n", Tongue.NONE),
    (b"\x00", Tongue.NONE),
    (b"\x05\x01\x00", Tongue.NONE),
]


@pytest.mark.parametrize(("heard", "tongue"), SPOKEN)
def test_the_first_bytes_tell(heard: bytes, tongue: Tongue | None) -> None:
    assert tongue_of(heard) is tongue


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_known_once_it_has_ended_and_not_before(verb: bytes) -> None:
    assert tongue_of(verb) is Tongue.HTTP
    assert {tongue_of(verb[:size]) for size in range(len(verb))} == {None}


beginnings = st.sampled_from([heard for heard, _ in SPOKEN]) | st.binary(max_size=12)


@given(first=beginnings, more=st.binary(max_size=12))
def test_what_was_told_once_stands_whatever_comes(first: bytes, more: bytes) -> None:
    told = tongue_of(first)
    assert told is None or tongue_of(first + more) is told


@given(first=beginnings)
def test_a_few_bytes_are_enough(first: bytes) -> None:
    assert tongue_of(first.ljust(8, b"\0")) is not None
