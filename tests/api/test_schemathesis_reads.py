"""Schemathesis on what only reads."""

import pytest

from tests.api.probing import READS, admins, keeps_its_word
from tests.harness import Sync

__all__ = ["admins"]


@pytest.mark.timeout(600)
@pytest.mark.parametrize("operation_id", READS)
def test_a_read_keeps_its_word(admins: dict[str, Sync], operation_id: str) -> None:
    keeps_its_word(admins, operation_id)
