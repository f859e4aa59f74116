"""A real curl says something to a real server, which is restarted and killed meanwhile.

What has no curl has nothing to show here.
"""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import trio_chat
from tests.test_pty import PROGRAM
from tests.test_secrets import Left, home, serving
from trio_chat.config import CERTIFICATE_FILE
from trio_chat.doors import certificate

__all__ = ["home"]  # a fixture: all that is written is in a folder of the test

REAL_SECONDS = 120
"""A dozen processes come and go, one after the other."""

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")


async def curl(*words: str) -> bytes:
    """What it prints. Fails where the response does, or is cut off."""
    done = await trio.run_process(
        ["curl", "--silent", "--show-error", "--fail-with-body", "--max-time", "60", *words],
        capture_stdout=True,
    )
    return bytes(done.stdout)


async def make_bot(*options: str) -> str:
    done = await trio.run_process([*PROGRAM, "bot", "add", "ci", *options], capture_stdout=True)
    return done.stdout.decode().strip()


async def open_room(address: str) -> None:
    """A room begins with somebody who joins it."""
    host, _, port = address.rpartition(":")
    async with trio_chat.connect(host, int(port), name="alice") as alice:
        await alice.join("ops")


async def post(address: str, token: str, text: str, key: str) -> dict[str, Any]:
    url = f"http://{address}/hooks/{token}"
    ack: dict[str, Any] = json.loads(
        await curl(url, "--data-binary", text, "-H", f"Idempotency-Key: {key}")
    )
    return ack


async def events(address: str, token: str, *options: str) -> list[dict[str, Any]]:
    url = f"http://{address}/rooms/ops/events?after=0"
    lines = await curl(url, "-H", f"Authorization: Bearer {token}", *options)
    return [json.loads(line) for line in lines.splitlines()]


async def test_with_one_key_it_stands_once_whatever_happens_to_the_server(home: Path) -> None:
    token = await make_bot("--room", "ops")
    acks: list[dict[str, Any]] = []
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        async with serving(home / "log") as (server, address):
            if not acks:
                await open_room(address)
            acks += [await post(address, token, "built\n", "build-42") for _ in range(2)]
            heard = await events(address, token)
            server.send_signal(number)
            await server.wait()
    assert {(ack["id"], ack["seq"]) for ack in acks} == {("build-42", acks[0]["seq"])}
    assert [ack.get("again", False) for ack in acks] == [False] + 5 * [True]
    said = [event for event in heard if event["message"]["type"] == "say"]
    assert [(event["by"], event["message"]["text"]) for event in said] == [("ci", "built")]


@asynccontextmanager
async def following(address: str, token: str) -> AsyncIterator[trio.Process]:
    """A curl that prints what happens."""
    words = ["-H", "Accept: text/event-stream", "-H", f"Authorization: Bearer {token}"]
    process = await trio.lowlevel.open_process(
        ["curl", "-sN", f"http://{address}/rooms/ops/events", *words], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield process
    finally:
        process.kill()
        await process.stdout.aclose()
        with trio.CancelScope(shield=True):  # it has been killed
            await process.wait()


async def print_until(process: trio.Process, text: bytes) -> None:
    assert process.stdout is not None
    printed = b""
    while text not in printed:
        chunk = await process.stdout.receive_some()
        assert chunk, printed
        printed += chunk


async def test_what_follows_is_told_at_once_and_let_go_in_time(home: Path) -> None:
    token = await make_bot()
    async with serving(home / "log") as (server, address):
        await open_room(address)
        async with following(address, token) as follower:
            await print_until(follower, b'"type":"join"')
            await curl(f"http://{address}/hooks/{token}?room=ops", "-d", "now")
            await print_until(follower, b'"text":"now"')
            before = trio.current_time()
            server.terminate()
            assert await server.wait() == 0
            assert trio.current_time() - before < 5
            assert await follower.wait() == 0, "it was not cut off"


def link_of(pem: Path, port: str) -> str:
    return f"trio-chat://localhost:{port}#{certificate.describe(pem).pin}"


async def test_all_of_it_goes_through_tls(home: Path) -> None:
    """A browser that was given http:// comes to the page, but a hook is not followed there."""
    token = await make_bot("--room", "ops")
    async with serving(home / "log", "--tls") as (_, address):
        (pem,) = home.rglob(CERTIFICATE_FILE)
        port = address.rpartition(":")[2]
        trusting = ["--cacert", str(pem), "--location"]
        async with trio_chat.connect(link_of(pem, port), name="alice") as alice:
            await alice.join("ops")
        for scheme in ("http", "https"):
            assert b"<!doctype html>" in await curl(f"{scheme}://localhost:{port}/", *trusting)
        said = ["-d", "hi", *trusting]
        assert b'"ack"' in await curl(f"https://localhost:{port}/hooks/{token}", *said)
        with pytest.raises(subprocess.CalledProcessError) as refused:
            await curl(f"http://localhost:{port}/hooks/{token}", *said)
        assert b'"tls_required"' in refused.value.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
async def test_no_token_is_left_anywhere(home: Path) -> None:
    left, token = Left(), await make_bot("--room", "ops")
    async with serving(home / "log") as (server, address):
        await open_room(address)
        await post(address, token, "hi", "k1")
        await events(address, token)
        for path in (f"/hooks/{token}", f"/hooks/{token}/x", f"/{token}", f"/?token={token}"):
            await trio.run_process(["curl", "-s", f"http://{address}{path}", "-o", "/dev/null"])
        left.places["metrics"] = await curl(f"http://{address}/metrics")
        left.look_at_process(server.pid, "the server")
        left.look_into(home)
    left.look_into(home)
    assert left.having("ops"), "it looks where something is"
    assert left.having(token) == []
