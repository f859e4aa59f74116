"""What systemd is told: that a server is ready, that it lives, and that it ends.

It listens on the datagram socket that it names in the environment; elsewhere nobody does,
and nothing is said (sd_notify(3)).
"""

import logging
import os
import socket

import trio

READY = "READY=1"
STOPPING = "STOPPING=1"
ALIVE = "WATCHDOG=1"

log = logging.getLogger(__name__)


def notify(state: str) -> None:
    """Tell it, without waiting: one that does not listen is not waited for."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # so an abstract one is written
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(0)
            sender.sendto(state.encode(), address)
    except OSError as exc:
        log.warning("systemd does not listen", extra={"why": str(exc)})


async def keep_watch() -> None:
    """Say that the loop goes round, until cancelled, as often as systemd wants to hear it:
    twice in the time after which it would start another server."""
    seconds = _watchdog_seconds()
    while seconds is not None:
        notify(ALIVE)
        await trio.sleep(seconds / 2)


def _watchdog_seconds() -> float | None:
    wanted = os.environ.get("WATCHDOG_USEC", "")
    is_for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    return int(wanted) / 1e6 if is_for_us and wanted.isdecimal() and int(wanted) else None
