CREATE TABLE IF NOT EXISTS search_prompts (
    prompt_id TEXT PRIMARY KEY,
    id INTEGER NOT NULL,
    project TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT,
    tags TEXT NOT NULL
) STRICT;

CREATE TABLE IF NOT EXISTS search_versions (
    id INTEGER PRIMARY KEY,
    prompt_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    author TEXT NOT NULL,
    committed_at TEXT NOT NULL,
    type TEXT NOT NULL,
    model TEXT,
    content TEXT
) STRICT;

CREATE INDEX IF NOT EXISTS search_versions_by_prompt ON search_versions (prompt_id, number);

CREATE TABLE IF NOT EXISTS search_variables (
    id INTEGER NOT NULL,
    variable TEXT NOT NULL,
    PRIMARY KEY (variable, id)
) STRICT;

CREATE TABLE IF NOT EXISTS search_words (
    id INTEGER PRIMARY KEY,
    words TEXT NOT NULL
) STRICT;

DROP TABLE IF EXISTS search_index;

CREATE VIRTUAL TABLE search_index USING fts5(words, tokenize = 'unicode61 remove_diacritics 0');

CREATE TRIGGER IF NOT EXISTS search_words_in AFTER INSERT ON search_words BEGIN INSERT INTO search_index (rowid, words) VALUES (new.id, new.words); END;

CREATE TRIGGER IF NOT EXISTS search_words_out AFTER DELETE ON search_words BEGIN DELETE FROM search_index WHERE rowid = old.id; END;

CREATE TRIGGER IF NOT EXISTS search_words_new AFTER UPDATE ON search_words BEGIN UPDATE search_index SET words = new.words WHERE rowid = new.id; END;
