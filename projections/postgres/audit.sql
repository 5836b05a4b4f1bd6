CREATE TABLE IF NOT EXISTS audit (
    position bigint PRIMARY KEY,
    event_id text COLLATE "C" NOT NULL,
    time text COLLATE "C" NOT NULL,
    actor_id text COLLATE "C" NOT NULL,
    actor text COLLATE "C" NOT NULL,
    action text COLLATE "C" NOT NULL,
    resource text COLLATE "C" NOT NULL,
    project text COLLATE "C",
    before text COLLATE "C" NOT NULL,
    after text COLLATE "C" NOT NULL,
    reason text COLLATE "C",
    authz text COLLATE "C" NOT NULL,
    request_id text COLLATE "C"
);

CREATE TABLE IF NOT EXISTS audit_held (
    held_id text COLLATE "C" PRIMARY KEY,
    state text COLLATE "C" NOT NULL
);

CREATE INDEX IF NOT EXISTS audit_by_actor ON audit (actor_id, position);

CREATE INDEX IF NOT EXISTS audit_by_action ON audit (action, position);

CREATE INDEX IF NOT EXISTS audit_by_resource ON audit (resource, position);

CREATE INDEX IF NOT EXISTS audit_by_project ON audit (project, position);

CREATE INDEX IF NOT EXISTS audit_by_time ON audit (time, position);
