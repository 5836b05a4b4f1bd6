CREATE TABLE IF NOT EXISTS changes (
    change_id text COLLATE "C" PRIMARY KEY,
    project text COLLATE "C" NOT NULL,
    environment text COLLATE "C" NOT NULL,
    status text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    automatic bigint NOT NULL,
    scheduled_at text COLLATE "C",
    review_due_at text COLLATE "C",
    reviewed bigint NOT NULL,
    title text COLLATE "C" NOT NULL,
    proposed_by text COLLATE "C" NOT NULL,
    proposed_at text COLLATE "C" NOT NULL,
    updated_at text COLLATE "C" NOT NULL,
    position bigint NOT NULL
);

CREATE INDEX IF NOT EXISTS changes_by_project ON changes (project, change_id);

CREATE INDEX IF NOT EXISTS changes_by_status ON changes (status, change_id);

CREATE TABLE IF NOT EXISTS change_items (
    change_id text COLLATE "C" NOT NULL,
    prompt_id text COLLATE "C" NOT NULL,
    place bigint NOT NULL,
    version bigint,
    base bigint,
    PRIMARY KEY (change_id, prompt_id)
);

CREATE TABLE IF NOT EXISTS change_parts (
    change_id text COLLATE "C" NOT NULL,
    principal_id text COLLATE "C" NOT NULL,
    part text COLLATE "C" NOT NULL,
    PRIMARY KEY (change_id, principal_id, part)
);

CREATE TABLE IF NOT EXISTS change_names (
    prompt_id text COLLATE "C" PRIMARY KEY,
    name text COLLATE "C" NOT NULL
);

CREATE TABLE IF NOT EXISTS change_authors (
    prompt_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    author text COLLATE "C" NOT NULL,
    PRIMARY KEY (prompt_id, number)
);

CREATE TABLE IF NOT EXISTS change_merges (
    prompt_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    merged bigint NOT NULL,
    PRIMARY KEY (prompt_id, number, merged)
);

CREATE TABLE IF NOT EXISTS change_parents (
    prompt_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    parent bigint NOT NULL,
    PRIMARY KEY (prompt_id, number, parent)
);
