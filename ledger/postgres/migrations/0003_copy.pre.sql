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

-- Where the ledger went, once it was moved away.
CREATE TABLE moved (
    one smallint PRIMARY KEY CHECK (one = 1),
    place text NOT NULL
);

CREATE FUNCTION mark_moved(new_place text) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = scrinia, pg_temp AS $$
    INSERT INTO moved VALUES (1, new_place) ON CONFLICT (one) DO UPDATE SET place = excluded.place;
$$;
