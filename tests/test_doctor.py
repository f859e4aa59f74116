"""What keeps a server from working is found, named, and not touched."""

import os
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
import trustme

from trio_chat import doctor
from trio_chat.doctor import (
    CertificateFiles,
    Finding,
    Level,
    check_certificate,
    check_file,
    check_folder,
    check_open_files,
    check_port,
    check_privacy,
    check_server,
    check_space,
    examine,
)
from trio_chat.doors import certificate
from trio_chat.doors.tls import Tls
from trio_chat.history.archive import import_lines
from trio_chat.history.sqlite import open_sqlite
from trio_chat.server import SPARE_FILES
from trio_chat.testing import running_server

OK, WARNING, PROBLEM = Level.OK, Level.WARNING, Level.PROBLEM


class Usage(NamedTuple):
    """What is used of a disk, in bytes."""

    total: int
    used: int
    free: int


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An empty history in a folder of its own, as `serve` makes them."""
    file = tmp_path / "data" / "chat.db"
    file.parent.mkdir(mode=0o700)
    import_lines(file, [])
    return file


def must_say(finding: Finding, level: Level, *words: str) -> None:
    assert finding.level is level, finding
    for word in words:
        assert word in f"{finding.text}; {finding.advice}"


async def examined(file: Path, port: int) -> list[Finding]:
    findings: list[Finding] = []
    await examine(file, None, "127.0.0.1", port, findings.append)
    return findings


async def test_a_healthy_server_has_no_problem_and_is_not_touched(file: Path) -> None:
    def look() -> list[tuple[str, bytes, int]]:
        files = sorted(file.parent.iterdir())
        return [(file.name, file.read_bytes(), file.stat().st_mtime_ns) for file in files]

    before = look()
    findings = await examined(file, free_port())
    assert [finding for finding in findings if finding.level is PROBLEM] == []
    assert len({finding.matter for finding in findings}) == len(findings) == 7
    assert look() == before


async def test_before_the_first_start_there_are_only_warnings(tmp_path: Path) -> None:
    findings = await examined(tmp_path / "new" / "chat.db", free_port())
    assert [finding.level for finding in findings[:3]] == [WARNING, OK, WARNING]
    assert PROBLEM not in {finding.level for finding in findings}
    assert list(tmp_path.iterdir()) == []


async def test_what_is_no_folder_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    findings = await examined(tmp_path / "file" / "chat.db", free_port())
    assert findings[0].level is PROBLEM
    assert [finding.matter for finding in findings] == ["folder", "space", "port", "open files"]


# ---------------------------------------------------------------- the history


@pytest.mark.parametrize("check", [check_folder, check_file])
def test_what_belongs_to_somebody_else(
    file: Path, monkeypatch: pytest.MonkeyPatch, check: Callable[[Path], Finding]
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    must_say(check(file), PROBLEM, "this user", "as the user who owns it")


@pytest.mark.parametrize(
    ("folder_mode", "file_mode", "level", "advice"),
    [
        (0o700, 0o600, OK, ""),
        (0o700, 0o400, OK, ""),
        (0o755, 0o600, WARNING, "chmod 700"),
        (0o770, 0o600, PROBLEM, "chmod 700"),
        (0o701, 0o644, PROBLEM, "(0644); chmod 600"),
        (0o700, 0o620, PROBLEM, "chmod 600"),
    ],
)
def test_who_may_read_it(
    file: Path, folder_mode: int, file_mode: int, level: Level, advice: str
) -> None:
    file.chmod(file_mode)
    file.parent.chmod(folder_mode)
    must_say(check_privacy(file), level, advice)


def test_what_stands_beside_the_file_is_as_private(file: Path) -> None:
    wal = file.with_name("chat.db-wal")
    wal.touch(0o600)
    wal.chmod(0o644)
    must_say(check_privacy(file), PROBLEM, f"chmod 600 {wal}")


def test_a_file_of_another_program(file: Path) -> None:
    file.write_bytes(b"Dear diary, " * 100)
    must_say(check_file(file), PROBLEM, str(file), "not a database", "backup")


def test_a_damaged_file(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:8192] + b"\xa5" * (len(data) - 8192))
    must_say(check_file(file), PROBLEM, str(file), "backup")


@pytest.mark.parametrize(
    ("total", "free", "level"),
    [
        (2**40, 2**39, OK),
        (2**31, 2**30, OK),
        (2**31, 2**30 - 1, WARNING),
        (2**40, 2**40 // 21, WARNING),
        (2**40, 2**20, PROBLEM),
        (0, 0, PROBLEM),
    ],
)
def test_how_much_space_there_is(
    file: Path, monkeypatch: pytest.MonkeyPatch, total: int, free: int, level: Level
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(total, total - free, free))
    must_say(check_space(file), level, "" if level is OK else "--retain")


async def test_who_uses_it(file: Path) -> None:
    must_say(check_server(file), OK, "no server uses")
    async with open_sqlite(file):
        must_say(check_server(file), OK, "a server uses")
    must_say(check_server(file.parent / "nowhere" / "chat.db"), OK, "no server uses")


# ---------------------------------------------------------------- the port


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


ALMOST_OURS = [
    b"{}\n",
    b'{"type":"pong"}\n',
    b'{"type":"error","code":"E1","text":"no"}\n',
]


async def test_a_port_that_is_free() -> None:
    must_say(await check_port("127.0.0.1", free_port()), OK, "free")


async def test_a_port_with_a_trio_chat() -> None:
    async with running_server() as server:
        must_say(await check_port("127.0.0.1", server.port), OK, "a trio_chat answers")


@pytest.mark.parametrize("greeting", [b"", b"SSH-2.0\r\n", *ALMOST_OURS])
async def test_a_port_with_another_program(greeting: bytes) -> None:
    async with listening(greeting) as port:
        must_say(await check_port("127.0.0.1", port), PROBLEM, "another program", "--port")


async def test_a_port_where_nobody_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ANSWER_WITHIN", 0.01)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        must_say(await check_port("127.0.0.1", port), PROBLEM, "another program")


@asynccontextmanager
async def listening(greeting: bytes) -> AsyncIterator[int]:
    """The port of a program that says `greeting` and hangs up."""

    async def greet(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(greeting)

    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, greet, 0, host="127.0.0.1")
        (listener,) = await nursery.start(serve)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        (PermissionError(13, "Permission denied"), "below 1024"),
        (OSError(99, "Cannot assign requested address"), "address of this machine"),
        (socket.gaierror(-2, "Name or service not known"), "address of this machine"),
        (OSError(97, "Address family not supported"), "another place"),
    ],
)
async def test_a_port_that_can_not_be_had(
    monkeypatch: pytest.MonkeyPatch, failure: OSError, advice: str
) -> None:
    async def fail(*_: object, **__: object) -> None:
        await trio.lowlevel.checkpoint()
        raise failure

    monkeypatch.setattr(trio, "open_tcp_listeners", fail)
    must_say(await check_port("192.0.2.1", 80), PROBLEM, "192.0.2.1:80", advice)


# ---------------------------------------------------------------- the certificate


@pytest.fixture
def own(tmp_path: Path) -> CertificateFiles:
    """What `serve --tls` has made."""
    path = tmp_path / "tls.pem"
    certificate.ensure(path)
    return CertificateFiles(path, path, is_made=True)


def signed(folder: Path, lasts: timedelta) -> CertificateFiles:
    """What an authority has signed."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    ends = datetime.now(UTC) + lasts
    issued = trustme.CA().issue_cert("chat.example.org", not_after=ends)
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    key.chmod(0o600)
    return CertificateFiles(cert, key, is_made=False)


async def looked_at(files: CertificateFiles, port: int | None = None) -> Finding:
    return await check_certificate(files, "127.0.0.1", port or free_port())


async def test_a_certificate_of_our_own(own: CertificateFiles) -> None:
    pin = certificate.describe(own.certificate).pin
    must_say(await looked_at(own), OK, "our own", pin)


@pytest.mark.parametrize(
    ("days", "level", "words"),
    [
        (60, OK, ["lasts until", "an authority"]),
        (22, OK, ["lasts until"]),
        (20, WARNING, ["ends on", "SIGHUP"]),
        (-1, PROBLEM, ["has ended on", "SIGHUP"]),
    ],
)
async def test_how_long_a_certificate_lasts(
    tmp_path: Path, days: int, level: Level, words: list[str]
) -> None:
    finding = await looked_at(signed(tmp_path, timedelta(days=days)))
    day = datetime.now(UTC) + timedelta(days=days)
    must_say(finding, level, f"{day:%Y-%m-%d}", "cert.pem", *words)


async def test_one_of_our_own_that_ends_has_to_be_made_anew(
    own: CertificateFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "SOON", certificate.LIFETIME * 2)
    must_say(await looked_at(own), WARNING, "ends on", f"remove {own.certificate}", "new link")
    theirs = CertificateFiles(own.certificate, own.key, is_made=False)
    found = await looked_at(theirs)
    must_say(found, WARNING, "ends on", "put a new one there", "SIGHUP", "new link")
    assert "remove" not in str(found), "it is not ours to remove"


async def test_one_that_is_not_there(own: CertificateFiles) -> None:
    own.certificate.unlink()
    must_say(await looked_at(own), WARNING, "no", "serve --tls makes it")
    files = CertificateFiles(own.certificate, own.key, is_made=False)
    must_say(await looked_at(files), PROBLEM, "can't read")


async def test_a_key_that_others_can_read(tmp_path: Path) -> None:
    files = signed(tmp_path, timedelta(days=60))
    files.key.chmod(0o644)
    must_say(await looked_at(files), PROBLEM, "others can read", f"chmod 600 {files.key}")


async def test_a_key_of_another_certificate(tmp_path: Path, own: CertificateFiles) -> None:
    files = signed(tmp_path, timedelta(days=60))
    mixed = CertificateFiles(files.certificate, own.key, is_made=False)
    must_say(await looked_at(mixed), PROBLEM, "not a certificate with its key")


async def test_a_server_that_was_not_told_of_a_new_certificate(own: CertificateFiles) -> None:
    tls = Tls(own.certificate, own.key)
    async with running_server(tls=tls) as server:
        must_say(await looked_at(own, server.port), OK, "our own")
        own.certificate.write_bytes(certificate.make())
        must_say(await looked_at(own, server.port), PROBLEM, "does not use", "SIGHUP")
        tls.reload()
        must_say(await looked_at(own, server.port), OK, "our own")


async def test_a_server_without_tls_where_the_settings_say_it(own: CertificateFiles) -> None:
    async with running_server() as server:
        must_say(await looked_at(own, server.port), PROBLEM, "plain text", "restart it")


@pytest.mark.parametrize("greeting", [b"", *ALMOST_OURS])
async def test_another_program_is_not_told_of_twice(
    own: CertificateFiles, greeting: bytes
) -> None:
    async with listening(greeting) as port:
        must_say(await looked_at(own, port), OK, "our own")


async def test_the_certificate_is_one_of_the_things_that_are_looked_at(
    file: Path, own: CertificateFiles
) -> None:
    findings: list[Finding] = []
    await examine(file, own, "127.0.0.1", free_port(), findings.append)
    assert [finding.matter for finding in findings].count("certificate") == 1
    assert len(findings) == 8


# ---------------------------------------------------------------- the system


@pytest.mark.parametrize(
    ("hard", "level", "said"),
    [
        (None, OK, "65,472 connections"),
        (10**9, OK, "65,472 connections"),
        (1064, OK, "1,000 connections"),
        (1063, WARNING, "ulimit"),
        (SPARE_FILES, PROBLEM, "0 connections"),
    ],
)
def test_how_many_files_may_be_open(hard: int | None, level: Level, said: str) -> None:
    must_say(check_open_files(hard), level, said)
