"""Names and the ids derived from them (DESIGN section 3).

Project names never change, so a project's id is derived from its name; a prompt's id is a UUIDv7
that outlives its name, and the name itself is a stream (`domain/name.py`).
"""

import re
from functools import lru_cache
from uuid import UUID, uuid5

from domain.errors import Fault, InvalidError, InvalidNameError

PROMPT_NAME_CHARS_MAX = 200
TAGS_MAX = 64
IDS_KEPT = 4096  # asked for on every read
LABEL_LATEST = "latest"

PROJECT_PATTERN = r"[a-z0-9][a-z0-9-]{0,62}"
# A segment without "..", expressed without look-ahead so that JSON Schema tools can use it too.
SEGMENT_CHARS_MAX = 63
SEGMENT_PATTERN = r"[a-z0-9](?:(?:\.?[a-z0-9_-])*\.?[a-z0-9])?"
PROMPT_PATTERN = rf"{SEGMENT_PATTERN}(?:/{SEGMENT_PATTERN})*"
LABEL_PATTERN = r"[a-z][a-z0-9_-]{0,35}"
BRANCH_PATTERN = r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?"
TAG_PATTERN = r"[A-Za-z0-9](?:[A-Za-z0-9 ._:/+-]{0,62}[A-Za-z0-9+])?"

_PROJECT = re.compile(PROJECT_PATTERN)
_PROMPT = re.compile(PROMPT_PATTERN)
_LABEL = re.compile(LABEL_PATTERN)
_BRANCH = re.compile(BRANCH_PATTERN)
_TAG = re.compile(TAG_PATTERN)

_REGISTRY_NAMESPACE = UUID("6f5c4a34-8a3c-5f0e-9d57-6c1f5ce0a7b1")


def check_project_name(name: str) -> str:
    """Return `name`; InvalidNameError unless it is 1-63 of `a-z 0-9 -`, not starting with `-`."""
    if not _PROJECT.fullmatch(name):
        raise InvalidNameError(
            f"{name[:80]!r} is no project name: use 1 to 63 of a-z, 0-9 and '-',"
            " starting with a letter or digit."
        )
    return name


def check_prompt_name(name: str) -> str:
    """Return `name`; InvalidNameError unless `segment(/segment)*` of at most 200 characters."""
    fits = len(name) <= PROMPT_NAME_CHARS_MAX and all(
        len(segment) <= SEGMENT_CHARS_MAX for segment in name.split("/")
    )
    if not fits or not _PROMPT.fullmatch(name):
        raise InvalidNameError(
            f"{name[:80]!r} is no prompt name: use segments of a-z, 0-9, '.', '_' and '-' that"
            " start and end with a letter or digit, joined by '/', without '..',"
            f" at most {PROMPT_NAME_CHARS_MAX} characters."
        )
    return name


def check_label(label: str, *, reserved: bool = False) -> str:
    """Return `label`; InvalidNameError unless valid. `latest` passes only where `reserved`."""
    if label == LABEL_LATEST and not reserved:
        raise InvalidNameError("'latest' is derived from the versions and cannot be set by hand.")
    if not _LABEL.fullmatch(label):
        raise InvalidNameError(
            f"{label[:80]!r} is no label: use 1 to 36 of a-z, 0-9, '_' and '-',"
            " starting with a letter."
        )
    return label


def check_branch(branch: str) -> str:
    """Return `branch`; InvalidNameError unless 1 to 64 of `a-z 0-9 . _ -`, edges alphanumeric."""
    if not _BRANCH.fullmatch(branch):
        raise InvalidNameError(
            f"{branch[:80]!r} is no branch: use 1 to 64 of a-z, 0-9, '.', '_' and '-', starting"
            " and ending with a letter or digit."
        )
    return branch


@lru_cache(maxsize=IDS_KEPT)
def project_id(project: str) -> UUID:
    """The id of a project's stream."""
    return uuid5(_REGISTRY_NAMESPACE, project)


def name_id(project: str, prompt: str) -> UUID:
    """The id of the stream of a prompt's name in its project."""
    return uuid5(project_id(project), prompt)


def check_tags(tags: list[str]) -> list[str]:
    """`tags` sorted, each once; InvalidError for one that is none, or for more than TAGS_MAX."""
    faults = [
        Fault(f"/tags/{index}", "invalid_tag", f"a tag is {TAG_PATTERN}")
        for index, tag in enumerate(tags)
        if not _TAG.fullmatch(tag)
    ]
    unique = sorted(set(tags))
    if len(unique) > TAGS_MAX:
        faults.append(Fault("/tags", "too_many", f"at most {TAGS_MAX} tags"))
    if faults:
        raise InvalidError(f"The tags are not valid: {faults[0].detail}.", faults)
    return unique
