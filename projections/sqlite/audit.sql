CREATE TABLE IF NOT EXISTS audit (
    position INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL,
    time TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    resource TEXT NOT NULL,
    project TEXT,
    before TEXT NOT NULL,
    after TEXT NOT NULL,
    reason TEXT,
    authz TEXT NOT NULL,
    request_id TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS audit_held (
    held_id TEXT PRIMARY KEY,
    state TEXT NOT NULL
) STRICT;

CREATE INDEX IF NOT EXISTS audit_by_actor ON audit (actor_id, position);

CREATE INDEX IF NOT EXISTS audit_by_action ON audit (action, position);

CREATE INDEX IF NOT EXISTS audit_by_resource ON audit (resource, position);

CREATE INDEX IF NOT EXISTS audit_by_project ON audit (project, position);

CREATE INDEX IF NOT EXISTS audit_by_time ON audit (time, position);
