CREATE TABLE IF NOT EXISTS changes (
    change_id TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    environment TEXT NOT NULL,
    status TEXT NOT NULL,
    revision INTEGER NOT NULL,
    automatic INTEGER NOT NULL,
    scheduled_at TEXT,
    review_due_at TEXT,
    reviewed INTEGER NOT NULL,
    title TEXT NOT NULL,
    proposed_by TEXT NOT NULL,
    proposed_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    position INTEGER NOT NULL
) STRICT;

CREATE INDEX IF NOT EXISTS changes_by_project ON changes (project, change_id);

CREATE INDEX IF NOT EXISTS changes_by_status ON changes (status, change_id);

CREATE TABLE IF NOT EXISTS change_items (
    change_id TEXT NOT NULL,
    prompt_id TEXT NOT NULL,
    place INTEGER NOT NULL,
    version INTEGER,
    base INTEGER,
    PRIMARY KEY (change_id, prompt_id)
) STRICT;

CREATE TABLE IF NOT EXISTS change_parts (
    change_id TEXT NOT NULL,
    principal_id TEXT NOT NULL,
    part TEXT NOT NULL,
    PRIMARY KEY (change_id, principal_id, part)
) STRICT;

CREATE TABLE IF NOT EXISTS change_names (
    prompt_id TEXT PRIMARY KEY,
    name TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS change_authors (
    prompt_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    author TEXT NOT NULL,
    PRIMARY KEY (prompt_id, number)
) STRICT;

CREATE TABLE IF NOT EXISTS change_merges (
    prompt_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    merged INTEGER NOT NULL,
    PRIMARY KEY (prompt_id, number, merged)
) STRICT;

CREATE TABLE IF NOT EXISTS change_parents (
    prompt_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    parent INTEGER NOT NULL,
    PRIMARY KEY (prompt_id, number, parent)
) STRICT;
