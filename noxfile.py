"""Every check of trio_chat: `nox -l` lists them, `nox` runs the default ones."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.download_python = "never"
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True
nox.options.error_on_missing_interpreters = False
nox.options.sessions = ["lint", "types", "tests", "short_proof"]

# Where this is set, each of the hundreds of processes that are started compiles the program
# anew: a quarter of a second.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

PYPROJECT = nox.project.load_toml("pyproject.toml")
SHORT_FORMS = ["tests/test_proof.py", "tests/test_hostile.py"]
BROWSER = "tests/browser"
PARTS = ["trio_chat", "tests", "benchmarks"]
PYTHONS = ["3.11", "3.12", "3.13"]


def group(name: str) -> list[str]:
    """The dependency group of that name."""
    return list(nox.project.dependency_groups(PYPROJECT, name))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests, on every one of these Pythons that is here; -- goes to pytest."""
    session.install("-e.", *group("tests"))
    options = [f"--ignore={part}" for part in [*SHORT_FORMS, BROWSER]]
    # Four minutes on one core; more than four would only crowd each other.
    cores = ["--numprocesses=auto", "--maxprocesses=4", "--dist=worksteal"]
    session.run("pytest", *cores, *options, *session.posargs)


@nox.session
def short_proof(session: nox.Session) -> None:
    """Prove the promises under a few faults, and attack a little (three minutes)."""
    session.install("-e.", *group("tests"))
    session.run("pytest", *SHORT_FORMS)


@nox.session
def browser(session: nox.Session) -> None:
    """Use the page in a real Chromium, which has to be installed (two minutes)."""
    session.install("-e.", *group("tests"))
    session.run("pytest", BROWSER, *session.posargs, env={"BROWSER": "chromium"})


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, and the traps of trio."""
    session.install(*group("lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    paths = [path for part in PARTS for path in sorted(Path(part).glob("**/*.py"))]
    files = [str(path) for path in paths if "async" in path.read_text()]
    command = ["python", "-m", "flake8_async", "--enable", "ASYNC"]
    command.append("--startable-in-context-manager=run")
    with ThreadPoolExecutor() as pool:  # it takes a minute or two, on one core
        list(pool.map(lambda half: session.run(*command, *half), (files[::2], files[1::2])))


@nox.session
def types(session: nox.Session) -> None:
    """Check types, those of the tests too."""
    session.install("-e.", *group("types"))
    session.run("mypy")


@nox.session
def screenshot(session: nox.Session) -> None:
    """Make the picture of the README anew, of two real terminals."""
    session.install("-e.", *group("tests"))
    session.run("python", "-m", "tests.screenshot", "docs/screenshot.svg")


@nox.session
def pictures(session: nox.Session) -> None:
    """Make the pictures of the page anew. Wants Inter and Noto Color Emoji, the fonts."""
    session.install("-e.", *group("tests"))
    session.run("python", "-m", "tests.browser.pictures", "docs")


@nox.session
def proof(session: nox.Session) -> None:
    """Prove by injected faults that nothing is lost, doubled or reordered (10 minutes)."""
    session.install("-e.", *group("tests"))
    session.run("python", "-m", "tests.proof", *session.posargs)


@nox.session
def hostile(session: nox.Session) -> None:
    """Attack a server in every way, and write docs/hostile.md (6 minutes); -- --short"""
    session.install("-e.", *group("tests"))
    options = session.posargs or ["--write"]
    session.run("python", "-m", "tests.hostile", *options, success_codes=[0, 3])


@nox.session
def bench(session: nox.Session) -> None:
    """Compare with other servers and write docs/performance.md (20 minutes); -- --quick"""
    session.install("-e.", *group("bench"))
    install_peers(session)
    options = session.posargs or ["--write"]
    session.run("python", "-m", "benchmarks", *options, success_codes=[0, 3])


def install_peers(session: nox.Session) -> None:
    """Have Debian install the servers that are not here, and end those that it starts."""
    found = session.run("python", "-m", "benchmarks", "--missing", silent=True) or ""
    missing = str(found).split()
    if not missing:
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        session.warn(f"not compared, for want of: apt-get install {' '.join(missing)}")
        return
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    session.run("apt-get", "update", "-q", external=True)
    session.run("apt-get", "install", "-qy", *missing, external=True, env=quiet)
    if Path("/run/systemd/system").exists():
        session.run(
            "systemctl",
            "disable",
            "--now",
            *missing,
            external=True,
            success_codes=range(256),  # what is no service can't be disabled
        )


@nox.session
def micro(session: nox.Session) -> None:
    """Time the codec, the framing, the fan-out and the commit, each by itself."""
    session.install("-e.")
    session.run("python", "-m", "benchmarks.micro")


@nox.session
def frames(session: nox.Session) -> None:
    """Compare what a delivery costs over a WebSocket and over the line door (two minutes)."""
    session.install("-e.")
    session.run("python", "-m", "benchmarks.frames")


@nox.session
def terminal(session: nox.Session) -> None:
    """Time what a person at a terminal waits for: the first prompt, and a key in a flood."""
    session.install("-e.", *group("bench"))
    session.run("python", "-m", "benchmarks.terminal")
