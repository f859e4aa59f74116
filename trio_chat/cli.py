"""The command line: all the commands, where their settings come from, and how it ends.

What a person can put right (a port in use, a name taken, a mistyped option) is one line on
stderr, and an exit status, of those in `ending`. `run` is the one place where that is
decided; every other exception is a bug, and shows its traceback.
"""

import json as json_format
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, NoReturn

from cyclopts import App, CycloptsError, Parameter

from trio_chat import config
from trio_chat.config import PROGRAM, VERSION
from trio_chat.ending import (
    INTERRUPTED,
    PIPE_BROKEN,
    STATUSES,
    Say,
    flush_stdout,
    forget_stdout,
    leaves,
    printing,
    report,
    report_mistake,
    tell,
    write_out,
)
from trio_chat.errors import ChatError

MODULES = {
    "serve": "serving",
    "connect": "talking",
    "say": "programs",
    "tail": "programs",
    "rooms": "programs",
    "who": "programs",
    "search": "programs",
    "history": "upkeep",
    "backup": "upkeep",
    "doctor": "upkeep",
    "account": "accounts",
    "bot": "accounts",
    "banish": "accounts",
    "bench": "bench.command",
}
"""Where each command is. Only what is wanted is imported: half of the time to a prompt
would go to what a server needs."""

COMMANDS = [*MODULES, "schema"]

HELP = {"--help", "-h", "--version"}
"""What cyclopts answers by itself."""

app = App(
    name="trio-chat",
    help="A self-hosted team chat whose messages arrive exactly once, in one order.",
    help_format="plaintext",
    help_epilogue=f"""\
Examples:
  # Start a server, and in another window talk.
  {PROGRAM} serve
  {PROGRAM} connect alice

Every option of a command can also be set in the environment, as in
TRIO_CHAT_PORT=9000, or in a file (in TOML) that has a table for each command,
as in

  [serve]
  port = 9000

  # For --server work; one that is called default is meant if none is named.
  [servers.work]
  host = "chat.example.org"
  name = "alice"
  room = "garden"

{STATUSES}""",
    usage=f"Usage: {PROGRAM} COMMAND [OPTIONS]",
    group_parameters="Options",
    version=VERSION,
    backend="trio",
    result_action="return_value",
    print_error=False,
    exit_on_error=False,
    suppress_keyboard_interrupt=False,
)
app.meta.suppress_keyboard_interrupt = False  # the one thing that it doesn't take from `app`
app.register_install_completion_command(
    help="Set up completion of the command trio-chat in your shell.", help_epilogue=""
)


@app.meta.default
def launch(
    *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
    config_file: Annotated[
        Path | None,
        Parameter(
            name="--config",
            group="Settings",
            env_var=f"{config.ENV_PREFIX}CONFIG",
            show_default=str(config.config_path()),
        ),
    ] = None,
) -> int | None:
    """Run a command with the settings that are in force.

    Parameters
    ----------
    config_file
        The file with settings.
    """
    sources = config.sources(config_file, COMMANDS)
    app.config = sources
    config.IN_FORCE.set(sources[-1])
    status: int | None = app(tokens)
    return status


@app.command(
    sort_key=14,
    usage=f"Usage: {PROGRAM} schema",
    help_epilogue=f"""\
Example:
  {PROGRAM} schema > trio_chat.json
""",
)
def schema() -> None:
    """Print the JSON Schema of the protocol, for those who write a client."""
    from trio_chat.schema import schema as protocol_schema  # noqa: PLC0415 # as the others

    text = json_format.dumps(protocol_schema(), indent=2, ensure_ascii=False)
    write_out([f"{text}\n".encode()])


def load(words: Sequence[str]) -> None:
    """Have the commands that are among `words`; or all of them, for --help, or to say which
    one could be meant."""
    for module in {MODULES[word] for word in words if word in MODULES} or MODULES.values():
        _load(module)


@cache
def _load(module: str) -> None:
    app.command(import_module(f"trio_chat.{module}").app, name="*")


# ---------------------------------------------------------------- from beginning to end


def main() -> NoReturn:
    """Run the command line and end the process."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Run a command line; returns the exit status."""
    status: int | None = 0
    say = _choose_voice(words)
    try:
        load(words)
        with printing() if HELP & {*words} else nullcontext():
            status = app.meta(words)
        flush_stdout()
    except* ChatError as failures:
        status = max(report(failure, say) for failure in leaves(failures))
    except* CycloptsError as mistakes:
        status = max(report_mistake(mistake, COMMANDS, say) for mistake in leaves(mistakes))
    except* KeyboardInterrupt:
        status = INTERRUPTED
    except* BrokenPipeError:
        status = PIPE_BROKEN
        forget_stdout()
    return status or 0


def _choose_voice(words: Sequence[str]) -> Say:
    """Whoever reads the log of a server finds there, too, why it did not start."""
    command = next((word for word in words if word in MODULES), None)
    if command != "serve" or HELP & {*words} or sys.stderr is None or sys.stderr.isatty():
        return tell
    from trio_chat.logs import write_failure  # noqa: PLC0415 # structlog takes 30 ms

    return write_failure
