from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.harness import Api, registry, verify
from tests.sign_in.people import Person, new_person


@pytest.fixture
async def api(tmp_path: Path, database_url: str | None) -> AsyncIterator[Api]:
    """A registry that hashes as cheaply as may be; in the end every sign-in is decided again."""
    async with registry(tmp_path, database_url=database_url) as client:
        yield client
    report = verify(tmp_path / "data", database_url)
    assert not report.faults, report.faults


@pytest.fixture
async def ada(api: Api) -> Person:
    return await new_person(api, "ada@example.com", {"role": "developer"})
