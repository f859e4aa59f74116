"""One browser for all tests; each person in them has a profile of its own."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tests.browser.stage import Stage, chromium, set_up


@pytest.fixture(scope="session")
def browser() -> Iterator[str]:
    with chromium() as address:
        yield address


@pytest.fixture
async def stage(browser: str) -> AsyncIterator[Stage]:
    async with set_up(browser) as stage:
        yield stage
