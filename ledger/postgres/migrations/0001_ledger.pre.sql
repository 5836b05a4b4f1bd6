-- The ledger on PostgreSQL. Everything here belongs to the owner role; the server's own role reads,
-- and writes only through the functions of 0002.

CREATE TABLE ledger (
    one smallint PRIMARY KEY CHECK (one = 1),
    id text NOT NULL,
    format integer NOT NULL
);

-- One row, locked by every append: the one place where the order of events is decided.
CREATE TABLE ledger_head (
    one smallint PRIMARY KEY CHECK (one = 1),
    position bigint NOT NULL,
    running_time text COLLATE "C" NOT NULL
) WITH (fillfactor = 10);

INSERT INTO ledger_head VALUES (1, 0, '');

-- Set while the ledger takes nothing here: it was moved away, or is being filled by a copy.
CREATE TABLE closed (
    one smallint PRIMARY KEY CHECK (one = 1),
    reason text NOT NULL,
    filling boolean NOT NULL
);

CREATE TABLE events (
    position bigint PRIMARY KEY,
    stream text COLLATE "C" NOT NULL,
    stream_position bigint NOT NULL,
    type text COLLATE "C" NOT NULL,
    event_id text COLLATE "C" NOT NULL UNIQUE,
    time text COLLATE "C" NOT NULL,
    running_time text COLLATE "C" NOT NULL,
    payload bytea NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    signature bytea NOT NULL,
    leaf_hash bytea NOT NULL,
    UNIQUE (stream, stream_position)
);

CREATE TABLE contents (
    commitment text COLLATE "C" PRIMARY KEY,
    salt bytea NOT NULL,
    body bytea NOT NULL
);

CREATE TABLE idempotency (
    principal text COLLATE "C" NOT NULL,
    key text COLLATE "C" NOT NULL,
    request_hash text NOT NULL,
    answer bytea NOT NULL,
    position bigint NOT NULL,
    time timestamptz NOT NULL,
    PRIMARY KEY (principal, key)
);

CREATE INDEX idempotency_by_time ON idempotency (time);

CREATE TABLE checkpoints (
    size bigint PRIMARY KEY,
    note bytea NOT NULL,
    frontier bytea NOT NULL
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% are never changed or deleted', TG_TABLE_NAME;
END $$;

CREATE TRIGGER events_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON events
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER contents_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON contents
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER checkpoints_stay BEFORE UPDATE OR DELETE OR TRUNCATE ON checkpoints
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
