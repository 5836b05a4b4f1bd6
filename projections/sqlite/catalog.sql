CREATE TABLE IF NOT EXISTS catalog_projects (
    project TEXT PRIMARY KEY,
    description TEXT,
    environments TEXT NOT NULL,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    position INTEGER NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS catalog_prompts (
    prompt_id TEXT PRIMARY KEY,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    search_text TEXT NOT NULL,
    status TEXT NOT NULL,
    standing TEXT NOT NULL,
    deprecation TEXT,
    owners TEXT NOT NULL,
    content_type TEXT NOT NULL,
    latest_version INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_by TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    stream_position INTEGER NOT NULL,
    position INTEGER NOT NULL,
    UNIQUE (project, name)
) STRICT;

CREATE INDEX IF NOT EXISTS catalog_prompts_by_update
    ON catalog_prompts (project, updated_at, prompt_id);

CREATE INDEX IF NOT EXISTS catalog_prompts_by_creation
    ON catalog_prompts (project, created_at, prompt_id);

CREATE TABLE IF NOT EXISTS catalog_tags (
    prompt_id TEXT NOT NULL,
    tag TEXT NOT NULL,
    PRIMARY KEY (prompt_id, tag)
) STRICT;

CREATE TABLE IF NOT EXISTS catalog_labels (
    prompt_id TEXT NOT NULL,
    label TEXT NOT NULL,
    version INTEGER NOT NULL,
    expires_at TEXT,
    next_step_at TEXT,
    PRIMARY KEY (prompt_id, label)
) STRICT;
