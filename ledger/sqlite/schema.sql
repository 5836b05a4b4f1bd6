-- The embedded store. Events are only ever inserted, at the next position.

CREATE TABLE IF NOT EXISTS ledger (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    id TEXT NOT NULL,
    format INTEGER NOT NULL
) STRICT;

-- Set while the ledger takes nothing here: it was moved away.
CREATE TABLE IF NOT EXISTS closed (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    reason TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS events (
    position INTEGER PRIMARY KEY,
    stream TEXT NOT NULL,
    stream_position INTEGER NOT NULL,
    type TEXT NOT NULL,
    event_id TEXT NOT NULL UNIQUE,
    time TEXT NOT NULL,
    running_time TEXT NOT NULL,
    payload BLOB NOT NULL,
    key_id TEXT NOT NULL,
    signature BLOB NOT NULL,
    leaf_hash BLOB NOT NULL,
    UNIQUE (stream, stream_position)
) STRICT;

CREATE TABLE IF NOT EXISTS contents (
    commitment TEXT PRIMARY KEY,
    salt BLOB NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS idempotency (
    principal TEXT NOT NULL,
    key TEXT NOT NULL,
    request_hash TEXT NOT NULL,
    answer BLOB NOT NULL,
    position INTEGER NOT NULL,
    time TEXT NOT NULL,
    PRIMARY KEY (principal, key)
) STRICT;

CREATE INDEX IF NOT EXISTS idempotency_by_time ON idempotency (time);

-- What checks secrets that people choose. Written with the event that speaks of it.
CREATE TABLE IF NOT EXISTS credentials (
    principal TEXT NOT NULL,
    kind TEXT NOT NULL,
    verifier BLOB NOT NULL,
    PRIMARY KEY (principal, kind)
) STRICT;

CREATE TABLE IF NOT EXISTS checkpoints (
    size INTEGER PRIMARY KEY,
    note BLOB NOT NULL,
    frontier BLOB NOT NULL
) STRICT;

-- INSERT OR REPLACE deletes without firing delete triggers, so the insert itself is checked too.
CREATE TRIGGER IF NOT EXISTS events_insert_in_order BEFORE INSERT ON events
WHEN NEW.position <> (SELECT coalesce(max(position), 0) + 1 FROM events)
    OR EXISTS (SELECT 1 FROM events WHERE event_id = NEW.event_id)
    OR EXISTS (
        SELECT 1 FROM events
        WHERE stream = NEW.stream AND stream_position >= NEW.stream_position
    )
BEGIN
    SELECT raise(ABORT, 'events are appended in order, each once');
END;

CREATE TRIGGER IF NOT EXISTS events_no_update BEFORE UPDATE ON events
BEGIN
    SELECT raise(ABORT, 'events are never changed');
END;

CREATE TRIGGER IF NOT EXISTS events_no_delete BEFORE DELETE ON events
BEGIN
    SELECT raise(ABORT, 'events are never deleted');
END;

CREATE TRIGGER IF NOT EXISTS contents_no_update BEFORE UPDATE ON contents
BEGIN
    SELECT raise(ABORT, 'contents are never changed');
END;

CREATE TRIGGER IF NOT EXISTS contents_no_delete BEFORE DELETE ON contents
BEGIN
    SELECT raise(ABORT, 'contents are never deleted');
END;

CREATE TRIGGER IF NOT EXISTS contents_no_replace BEFORE INSERT ON contents
WHEN EXISTS (SELECT 1 FROM contents WHERE commitment = NEW.commitment)
BEGIN
    SELECT raise(ABORT, 'contents are never replaced');
END;

CREATE TRIGGER IF NOT EXISTS checkpoints_only_grow BEFORE INSERT ON checkpoints
WHEN NEW.size <= (SELECT coalesce(max(size), 0) FROM checkpoints)
BEGIN
    SELECT raise(ABORT, 'a checkpoint is never smaller than one before');
END;

CREATE TRIGGER IF NOT EXISTS checkpoints_no_update BEFORE UPDATE ON checkpoints
BEGIN
    SELECT raise(ABORT, 'checkpoints are never changed');
END;

CREATE TRIGGER IF NOT EXISTS checkpoints_no_delete BEFORE DELETE ON checkpoints
BEGIN
    SELECT raise(ABORT, 'checkpoints are never deleted');
END;
