"""Imports point down: the order of the files explains the program."""

import ast
import re
from pathlib import Path

import pytest

import trio_chat

PACKAGE = Path(trio_chat.__file__).parent

LAYERS = [
    {"errors", "_version"},
    {"names", "framing", "secret", "ages", "tls", "veil"},
    {"pairs"},
    {"messages"},
    {"byhand"},
    {"wire"},
    {"tally", "schema", "roles", "pacing", "failures"},
    {"rules", "tokens", "passwords"},
    {"hashing", "quotas"},
    {"charter"},
    {"history"},
    {"history.words", "history.file", "history.thread", "outbox", "gate"},
    {"history.memory", "history.index", "history.people"},
    {"history.sqlite", "banished"},
    {"history.annex"},
    {"history.archive"},
    {"rooms"},
    {"hub"},
    {"amendments", "revisions", "questions"},
    {"drafts"},
    {"batch"},
    {"sequencer"},
    {"reception", "postbox", "writer"},
    {"session"},
    {"doors", "doors.tongue", "doors.stream", "doors.http", "doors.certificate"},
    {"doors.tls", "doors.tcp", "doors.sites", "doors.assets", "doors.metrics"},
    {"doors.websocket"},
    {"doors.script"},
    {"doors.web"},
    {"doors.front"},
    {"server"},
    {"client", "client.clean", "client.colours", "client.address"},
    {"client.wrap"},
    {"client.notify", "client.reflow"},
    {"client.link", "client.calls", "client.feed"},
    {"client.lifeline", "client.trust"},
    {"client.chat"},
    {"bench", "bench.plan", "bench.dialect", "bench.process", "bench.sockets"},
    {"bench.json_lines", "bench.verify"},
    {"bench.crowd", "bench.report"},
    {"bench.load"},
    {"client.commands", "client.journal"},
    {"client.notices"},
    {"client.deeds"},
    {"client.wording"},
    {"client.attention", "client.view"},
    {"client.plain", "client.buffers", "client.lineview", "client.listings"},
    {"client.status", "client.surface"},
    {"client.editor"},
    {"client.screen", "client.lines"},
    {"client.speech", "client.display", "client.reading"},
    {"client.errands", "client.governing", "client.ownership"},
    {"client.person"},
    {"client.terminal"},
    {"testing", "logs", "config", "signals", "systemd", "reach"},
    {"doctor"},
    {""},
    {"ending"},
    {"asking"},
    {"login"},
    {"serving", "talking", "upkeep", "accounts"},
    {"programs"},
    {"bench.command"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, layer in enumerate(LAYERS) for name in layer}

NO_IO = {
    "errors",
    "names",
    "pairs",
    "history.words",
    "messages",
    "byhand",
    "framing",
    "wire",
    "rules",
    "roles",
    "charter",
    "banished",
    "client.deeds",
    "schema",
    "pacing",
    "quotas",
    "tally",
    "failures",
    "tokens",
    "passwords",
    "secret",
    "veil",
    "ages",
    "doors.tongue",
    "doors.http",
    "doors.assets",
    "doors.metrics",
    "client.attention",
    "client.buffers",
    "client.colours",
    "client.lineview",
    "client.listings",
    "client.notices",
    "client.notify",
    "client.reflow",
    "client.status",
    "client.view",
    "client.wording",
    "client.wrap",
}
IO = {"trio", "socket", "ssl", "sqlite3", "prompt_toolkit", "os", "time", "random"}

COMMAND_LINE = {
    "ending",
    "asking",
    "login",
    "serving",
    "talking",
    "programs",
    "upkeep",
    "accounts",
    "bench.command",
    "cli",
}
"""The modules that know of commands and options."""

ONLY_IN = {
    "cattrs": {"wire"},
    "orjson": {"wire"},
    "precis_i18n": {"names"},
    "argon2": {"passwords"},
    "confusable_homoglyphs": {"names"},
    "sqlite3": {
        "client.journal",
        "history.annex",
        "history.archive",
        "history.file",
        "history.index",
        "history.people",
        "history.sqlite",
    },
    "prompt_toolkit": {"client.screen"},
    "wcwidth": {"client.wrap"},
    "cyclopts": COMMAND_LINE | {"config"},
    "cryptography": {"doors.certificate"},
    "structlog": {"logs"},
    "stackscope": {"signals"},
    "psutil": {"bench.process"},
    "h11": {"doors.http"},
    "wsproto": {"doors.websocket"},
    "outcome": {"history.thread"},
    "prometheus_client": {"doors.metrics"},
}

CLIENT_MAY_IMPORT = {
    "ages",
    "errors",
    "names",
    "pairs",
    "messages",
    "byhand",
    "framing",
    "secret",
    "tls",
    "wire",
}

PAGE = (PACKAGE.parent / "docs" / "architecture.md").read_text()
LIST = [
    re.findall("`(.*?)`", line.split("|")[2])
    for line in PAGE.partition("\n## Who may import whom\n")[2]
    .partition("\n## ")[0]
    .splitlines()
    if line.startswith("|")
]

FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def row_of(name: str) -> int:
    """In which row of the list a module, or its folder, stands."""
    if name in {"", "__main__"}:
        return len(LIST)
    names = [name, f"{name.partition('.')[0]}/"]
    return next(row for one in names for row, modules in enumerate(LIST) if one in modules)


def imports(path: Path) -> tuple[set[str], set[str]]:
    """Which of our modules a file imports, and which of others."""
    ours: set[str] = set()
    others: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            submodules = [f"{node.module}.{alias.name}" for alias in node.names]
            is_ours = [name for name in submodules if name.removeprefix("trio_chat.") in RANK]
            names = is_ours or [node.module]
        else:
            continue
        for name in names:
            package, _, module = name.partition(".")
            (ours.add(module) if package == "trio_chat" else others.add(package))
    return ours, others


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    ours, _ = imports(path)
    assert {other for other in ours if RANK[other] >= RANK[name_of(path)]} == set()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down_the_list_that_people_read(path: Path) -> None:
    ours, _ = imports(path)
    up = {other for other in ours if row_of(other) > row_of(name_of(path))}
    assert up == set()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_what_decides_does_no_io(path: Path) -> None:
    _, others = imports(path)
    assert name_of(path) not in NO_IO or others & IO == set()


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_foreign_names_stay_in_their_module(path: Path) -> None:
    _, others = imports(path)
    name = name_of(path)
    leaked = {other for other in others if name not in ONLY_IN.get(other, {name})}
    assert leaked == set()


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in FILES
        if name_of(path).startswith("bench") and "command" not in path.name
    ],
    ids=name_of,
)
def test_the_load_tester_knows_nothing_of_the_server(path: Path) -> None:
    ours, _ = imports(path)
    others = {name for name in ours if not name.startswith(("bench", "client"))}
    assert others - CLIENT_MAY_IMPORT == set()


@pytest.mark.parametrize(
    "path", [path for path in FILES if name_of(path).startswith("client")], ids=name_of
)
def test_the_client_knows_nothing_of_the_server(path: Path) -> None:
    ours, _ = imports(path)
    server_side = {name for name in ours if not name.startswith("client")} - CLIENT_MAY_IMPORT
    assert server_side == set()


def test_a_violation_would_be_seen(tmp_path: Path) -> None:
    module = tmp_path / "wire.py"
    module.write_text(
        "from trio_chat import session\nfrom trio_chat.doors.tcp import x\nimport trio\n"
    )
    assert imports(module) == ({"session", "doors.tcp"}, {"trio"})
