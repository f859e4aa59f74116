"""The README tells the truth: its commands are the gate's, its lines and its code work."""

import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio
from trio.testing import wait_all_tasks_blocked

import trio_chat
from tests.test_cli import free_port, serving_at
from trio_chat import (
    config,
    failures,
    framing,
    gate,
    names,
    pacing,
    quotas,
    rules,
    sequencer,
    server,
    session,
    writer,
)
from trio_chat.messages import Event, Hello, Join, Say
from trio_chat.testing import RunningServer
from trio_chat.wire import SERVER

REAL_SECONDS = 120
"""One test starts two servers, one after the other."""

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    fences = re.findall(r"^```(.*)\n((?:.*\n)*?)```$", README, re.MULTILINE)
    return [block for of, block in fences if of == language]


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
    limits = dict(re.findall(r"^\| ([a-z, ]+) \| (.*?) \|", README, re.MULTILINE))
    assert limits["a line"] == f"{framing.LINE_BYTES // 1024} KiB"
    assert limits["a text"] == f"{rules.TEXT_BYTES // 1024} KiB"
    assert limits["a name"] == f"{names.NAME_CHARS} characters, {names.NAME_BYTES} bytes"
    assert limits["the hello"] == (
        f"within {session.HELLO_WITHIN:.0f} s, {session.HELLO_BYTES // 1024} KiB and"
        f" {session.HELLO_LINES} lines"
    )
    assert limits["connections from one address"].startswith(f"{gate.EACH} ")
    assert limits["connections"].endswith(f"less {server.SPARE_FILES}")
    assert limits["rooms of a connection"] == f"{rules.ROOMS_EACH}"
    assert limits["rooms of a server"] == f"{rules.ROOMS_IN_ALL:,}"
    assert limits["speaking"].startswith(
        f"{pacing.RATE:.0f} messages/s, {pacing.BURST} at once"
    )
    assert limits["joining, pages, lists"] == (
        f"{quotas.JOINS.number}, {quotas.PAGES.number} and {quotas.LISTS.number} a second,"
        f" {quotas.BACK_AT_ONCE} at once"
    )
    assert limits["searching"] == (
        f"{quotas.SEARCHES.number} a second, {quotas.SEARCHES.at_once} at once"
    )
    assert limits["new rooms from one address"].startswith(
        f"{quotas.ROOMS.number} an hour (`--new-rooms`), and {quotas.PRIVATE_TIMES} times"
    )
    assert limits["new names from one address"] == f"{quotas.ACCOUNTS.number} an hour"
    assert limits["wrong passwords and keys"] == (
        f"{failures.TRIES}, then a wait from {failures.WAIT_FROM / 60:.0f} to"
        f" {failures.WAIT_TO / 60:.0f} minutes"
    )
    assert limits["a reader that takes nothing"] == f"{writer.STUCK:.0f} s"
    assert limits["a peer that is gone"] == f"{session.SILENCE:.0f} s"
    assert sequencer.COME_BACK_WITHIN < session.SILENCE


def test_the_settings_are_settings(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    path = tmp_path / "config.toml"
    path.write_text(text)
    *_, servers = config.sources(path, [])
    assert servers.find("default").room == "garden"
    assert str(servers.find("work").address) == "plain://10.0.0.5:9000"


def test_the_bot_has_ten_lines() -> None:
    source, _ = blocks("python")
    assert len([line for line in source.splitlines() if line.strip()]) <= 10


async def test_the_bot_survives_a_server_that_is_killed(tmp_path: Path) -> None:
    """With a real server: whoever is killed says no goodbye."""
    port = int(free_port())
    async with trio.open_nursery() as nursery:
        async with serving_at(port, tmp_path) as process:
            nursery.start_soon(load_bot(f'trio_chat.connect("127.0.0.1", {port}, '))
            await ask(port, "alice")
            process.kill()
        async with serving_at(port, tmp_path):
            await ask(port, "bob")
            nursery.cancel_scope.cancel()


async def ask(port: int, name: str) -> None:
    """Say !ping until the bot, which may be on its way back, has answered."""
    async with trio_chat.connect("127.0.0.1", port, name=name) as chat:
        await chat.join("lobby")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask_again, chat)
            await hear_pong(chat)
            nursery.cancel_scope.cancel()


async def hear_pong(chat: trio_chat.Chat) -> None:
    async for item in chat:
        match item:
            case Event(by="echo", message=Say(text=text)) if text == f"pong, {chat.name}":
                return


async def ask_again(chat: trio_chat.Chat) -> None:
    while True:
        await chat.say("lobby", "!ping")
        await trio.sleep(0.2)


async def test_the_bot_of_the_readme_answers(server: RunningServer) -> None:
    async with trio.open_nursery() as nursery, server.connect(name="alice") as alice:
        await alice.join("lobby")
        nursery.start_soon(load_bot("server.connect(", server=server))
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


def load_bot(connect: str, **scope: Any) -> Callable[[], Awaitable[None]]:
    """The code of the README, which connects like this instead of to localhost."""
    source, _ = blocks("python")
    assert 'trio_chat.connect("localhost", ' in source
    source = source.replace("trio.run(main)", "")
    exec(source.replace('trio_chat.connect("localhost", ', connect), scope)  # noqa: S102 # it is ours
    main: Callable[[], Awaitable[None]] = scope["main"]
    return main
