"""Codes of a second factor, against the vectors of the standard."""

from datetime import UTC, datetime

import pytest

from api.http.sign_in import matching_step

# RFC 6238, appendix B, SHA-1: the last six of eight digits.
VECTORS = {59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924",
           2000000000: "279037", 20000000000: "353130"}  # fmt: skip


@pytest.mark.parametrize(("seconds", "code"), VECTORS.items())
def test_the_vectors_of_the_standard(seconds: int, code: str) -> None:
    at = datetime.fromtimestamp(seconds, UTC)
    assert matching_step(b"12345678901234567890", code, at) == seconds // 30
    assert matching_step(b"12345678901234567890", "000000", at) is None
