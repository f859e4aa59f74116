"""The README tells the truth: its commands are the gate's, its lines and its code work."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

from trio_chat import framing, names, pacing, rules, sequencer, session
from trio_chat.messages import Event, Hello, Join, Say
from trio_chat.testing import RunningServer
from trio_chat.wire import SERVER

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_the_gate_calls_the_command_of_the_readme() -> None:
    (command,) = (
        line for block in blocks("sh") for line in block.splitlines() if "nox" in line
    )
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_lines_by_hand_are_requests() -> None:
    (block,) = (block for block in blocks("") if block.startswith("$ nc"))
    requests = [SERVER.decode(line.encode()) for line in block.splitlines()[1:]]
    assert requests == [Hello("alice"), Join("lobby"), Say("lobby", "hi", "c1")]


def test_the_limits_are_those_of_the_code() -> None:
    limits = dict(re.findall(r"^\| ([a-z ]+) \| (.*?) \|", README, re.MULTILINE))
    assert limits["a line"] == f"{framing.LINE_BYTES // 1024} KiB"
    assert limits["a text"] == f"{rules.TEXT_BYTES // 1024} KiB"
    assert limits["a name"] == f"{names.NAME_CHARS} characters"
    assert limits["time for the hello"] == f"{session.HELLO_WITHIN:.0f} s"
    assert limits["rooms of a connection"] == f"{rules.ROOMS_EACH}"
    assert limits["rooms of a server"] == f"{rules.ROOMS_IN_ALL:,}"
    assert limits["speaking"].startswith(
        f"{pacing.RATE:.0f} messages/s, {pacing.BURST} at once"
    )
    assert limits["a reader that takes nothing"] == f"{session.STUCK:.0f} s"
    assert limits["a peer that is gone"] == f"{session.SILENCE:.0f} s"
    assert sequencer.COME_BACK_WITHIN < session.SILENCE


async def test_the_bot_of_the_readme_answers(server: RunningServer) -> None:
    async with trio.open_nursery() as nursery, server.connect(name="alice") as alice:
        await alice.join("lobby")
        nursery.start_soon(load_bot(server))
        await wait_all_tasks_blocked()
        await alice.say("lobby", "!ping")
        async for event in alice:
            if (
                isinstance(event, Event)
                and event.by == "echo"
                and isinstance(event.message, Say)
            ):
                assert event.message.text == "pong, alice"
                break
        nursery.cancel_scope.cancel()


def load_bot(server: RunningServer) -> Callable[[], Awaitable[None]]:
    """The code of the README, with this server for the one on localhost."""
    source, _ = blocks("python")
    source = source.replace("trio.run(main)", "")
    source = source.replace('trio_chat.connect("localhost", ', "server.connect(")
    scope: dict[str, Any] = {"server": server}
    exec(source, scope)  # noqa: S102 # it is ours
    main: Callable[[], Awaitable[None]] = scope["main"]
    return main
