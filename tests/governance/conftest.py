"""What the tests of governance share."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import rfc8785

from domain.intent import PAYLOAD_TYPE
from ledger.payload import pre_authentication_encoding
from ledger.signing import Signer
from ledger.trust import possession_text
from tests.harness import ROOT, Answer, Api, Caller, Process, registry, text_content, verify
from tests.governance.team import CHANGES, PRODUCTION, PROMPT, Pen, Team, codes, hours, rules


@pytest.fixture
def database_url() -> None:
    """What is decided is the same on both stores; the state machine of governance runs on both."""


@pytest.fixture
async def team(tmp_path: Path, database_url: str | None) -> AsyncIterator[Team]:
    """Whatever a test does, everything in the ledger is found allowed again."""
    async with registry(tmp_path, database_url=database_url) as api:
        yield await Team(api).build()
    assert verify(tmp_path / "data", database_url).faults == []
