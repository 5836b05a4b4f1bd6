CREATE TABLE IF NOT EXISTS catalog_projects (
    project text COLLATE "C" PRIMARY KEY,
    description text COLLATE "C",
    environments text COLLATE "C" NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at text COLLATE "C" NOT NULL,
    position bigint NOT NULL
);

CREATE TABLE IF NOT EXISTS catalog_prompts (
    prompt_id text COLLATE "C" PRIMARY KEY,
    project text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    description text COLLATE "C",
    search_text text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    standing text COLLATE "C" NOT NULL,
    deprecation text COLLATE "C",
    owners text COLLATE "C" NOT NULL,
    content_type text COLLATE "C" NOT NULL,
    latest_version bigint NOT NULL,
    created_by text COLLATE "C" NOT NULL,
    created_at text COLLATE "C" NOT NULL,
    updated_by text COLLATE "C" NOT NULL,
    updated_at text COLLATE "C" NOT NULL,
    stream_position bigint NOT NULL,
    position bigint NOT NULL,
    UNIQUE (project, name)
);

CREATE INDEX IF NOT EXISTS catalog_prompts_by_update
    ON catalog_prompts (project, updated_at, prompt_id);

CREATE INDEX IF NOT EXISTS catalog_prompts_by_creation
    ON catalog_prompts (project, created_at, prompt_id);

CREATE TABLE IF NOT EXISTS catalog_tags (
    prompt_id text COLLATE "C" NOT NULL,
    tag text COLLATE "C" NOT NULL,
    PRIMARY KEY (prompt_id, tag)
);

CREATE TABLE IF NOT EXISTS catalog_labels (
    prompt_id text COLLATE "C" NOT NULL,
    label text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    expires_at text COLLATE "C",
    next_step_at text COLLATE "C",
    PRIMARY KEY (prompt_id, label)
);

CREATE INDEX IF NOT EXISTS catalog_prompts_by_text
    ON catalog_prompts USING gin (search_text gin_trgm_ops);
