-- What `scrinia copy` and `scrinia restore` need beside `append`: answers with the times they have.

CREATE FUNCTION take_answers(
    principals text[], keys text[], request_hashes text[], bodies bytea[], positions bigint[],
    times text[]
) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = scrinia, pg_temp AS $$
    INSERT INTO idempotency
    SELECT a.principal, a.key, a.request_hash, a.body, a.position, a.time::timestamptz
    FROM unnest(principals, keys, request_hashes, bodies, positions, times)
        AS a(principal, key, request_hash, body, position, time)
    WHERE a.position <= (SELECT position FROM ledger_head)
    ON CONFLICT DO NOTHING;
$$;

CREATE FUNCTION close_ledger(new_reason text, new_filling boolean) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = scrinia, pg_temp AS $$
BEGIN
    PERFORM 1 FROM ledger_head FOR UPDATE;
    INSERT INTO closed VALUES (1, new_reason, new_filling)
        ON CONFLICT (one) DO UPDATE SET reason = excluded.reason, filling = excluded.filling;
END $$;

CREATE FUNCTION reopen() RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = scrinia, pg_temp AS $$
    DELETE FROM closed;
$$;
