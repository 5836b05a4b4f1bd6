CREATE TABLE IF NOT EXISTS uses (
    prompt_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    project text COLLATE "C" NOT NULL,
    target text COLLATE "C" NOT NULL,
    reference text COLLATE "C" NOT NULL,
    PRIMARY KEY (prompt_id, number, reference)
);

CREATE INDEX IF NOT EXISTS uses_by_target ON uses (project, target);
