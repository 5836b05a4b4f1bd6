-- What the server's role may do, granted anew at every migration. `:runtime` is its name.

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA scrinia FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA scrinia FROM :runtime;
GRANT USAGE ON SCHEMA scrinia TO :runtime;
GRANT SELECT ON ALL TABLES IN SCHEMA scrinia TO :runtime;
GRANT EXECUTE ON FUNCTION begin_ledger, append, lock_head, store_checkpoint, position_at,
    take_answers, append_with_credentials, take_credentials, close_ledger, reopen TO :runtime;
