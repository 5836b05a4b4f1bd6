CREATE TABLE IF NOT EXISTS uses (
    prompt_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    project TEXT NOT NULL,
    target TEXT NOT NULL,
    reference TEXT NOT NULL,
    PRIMARY KEY (prompt_id, number, reference)
) STRICT;

CREATE INDEX IF NOT EXISTS uses_by_target ON uses (project, target);
