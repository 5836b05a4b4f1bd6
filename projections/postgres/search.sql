CREATE TABLE IF NOT EXISTS search_prompts (
    prompt_id text COLLATE "C" PRIMARY KEY,
    id bigint NOT NULL,
    project text COLLATE "C" NOT NULL,
    name text COLLATE "C" NOT NULL,
    description text COLLATE "C",
    tags text COLLATE "C" NOT NULL
);

CREATE TABLE IF NOT EXISTS search_versions (
    id bigint PRIMARY KEY,
    prompt_id text COLLATE "C" NOT NULL,
    number bigint NOT NULL,
    author text COLLATE "C" NOT NULL,
    committed_at text COLLATE "C" NOT NULL,
    type text COLLATE "C" NOT NULL,
    model text COLLATE "C",
    content text COLLATE "C"
);

CREATE INDEX IF NOT EXISTS search_versions_by_prompt ON search_versions (prompt_id, number);

CREATE TABLE IF NOT EXISTS search_variables (
    id bigint NOT NULL,
    variable text COLLATE "C" NOT NULL,
    PRIMARY KEY (variable, id)
);

CREATE TABLE IF NOT EXISTS search_words (
    id bigint PRIMARY KEY,
    words text COLLATE "C" NOT NULL
);

CREATE INDEX IF NOT EXISTS search_words_by_word
    ON search_words USING gin (to_tsvector('simple', words));

CREATE INDEX IF NOT EXISTS search_words_by_part
    ON search_words USING gin (words gin_trgm_ops);
