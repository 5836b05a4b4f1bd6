-- What checks secrets that people choose, written in the transaction of the event that speaks of it.

CREATE TABLE credentials (
    principal text COLLATE "C" NOT NULL,
    kind text COLLATE "C" NOT NULL,
    verifier bytea NOT NULL,
    PRIMARY KEY (principal, kind)
);

-- A verifier of null takes it away.
CREATE FUNCTION keep_credentials(principals text[], kinds text[], verifiers bytea[]) RETURNS void
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = scrinia, pg_temp AS $$
    DELETE FROM credentials c USING unnest(principals, kinds, verifiers) AS k(principal, kind, verifier)
    WHERE c.principal = k.principal AND c.kind = k.kind AND k.verifier IS NULL;
    INSERT INTO credentials
    SELECT k.principal, k.kind, k.verifier
    FROM unnest(principals, kinds, verifiers) AS k(principal, kind, verifier)
    WHERE k.verifier IS NOT NULL
    ON CONFLICT (principal, kind) DO UPDATE SET verifier = excluded.verifier;
$$;

-- `append` for a batch in which some unit has credentials: those of units accepted now are kept.
CREATE FUNCTION append_with_credentials(
    unit_count integer, again boolean, skew_seconds_max double precision, idempotency_hours integer,
    condition_units integer[], condition_streams text[], condition_positions bigint[],
    event_units integer[], event_streams text[], event_stream_positions bigint[],
    event_types text[], event_ids text[], event_times text[], event_payloads bytea[],
    event_key_ids text[], event_signatures bytea[], event_leaf_hashes bytea[],
    content_units integer[], content_commitments text[], content_salts bytea[],
    content_bodies bytea[],
    answer_units integer[], answer_principals text[], answer_keys text[],
    answer_request_hashes text[], answer_bodies bytea[], answer_events integer[],
    answer_positions bigint[],
    credential_units integer[], credential_principals text[], credential_kinds text[],
    credential_verifiers bytea[],
    OUT head bigint, OUT accepted boolean[], OUT stored bigint[],
    OUT moved_units integer[], OUT moved_streams text[]
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = scrinia, pg_temp AS $$
DECLARE
    one record;
BEGIN
    SELECT a.* INTO head, accepted, stored, moved_units, moved_streams FROM append(
        unit_count, again, skew_seconds_max, idempotency_hours, condition_units, condition_streams,
        condition_positions, event_units, event_streams, event_stream_positions, event_types,
        event_ids, event_times, event_payloads, event_key_ids, event_signatures, event_leaf_hashes,
        content_units, content_commitments, content_salts, content_bodies, answer_units,
        answer_principals, answer_keys, answer_request_hashes, answer_bodies, answer_events,
        answer_positions) AS a;
    FOR one IN
        SELECT c.principal, c.kind, c.verifier
        FROM unnest(credential_units, credential_principals, credential_kinds, credential_verifiers)
            WITH ORDINALITY AS c(unit, principal, kind, verifier, n)
        WHERE accepted[c.unit + 1] AND stored[c.unit + 1] IS NULL
        ORDER BY c.n
    LOOP
        PERFORM keep_credentials(ARRAY[one.principal], ARRAY[one.kind], ARRAY[one.verifier]);
    END LOOP;
END $$;

-- What `scrinia copy` and `scrinia restore` need: all of another store's, and no others. Only into a
-- ledger that is being filled, so that the server's role replaces nothing.
CREATE FUNCTION take_credentials(principals text[], kinds text[], verifiers bytea[]) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = scrinia, pg_temp AS $$
BEGIN
    PERFORM 1 FROM ledger_head FOR UPDATE;
    IF NOT EXISTS (SELECT FROM closed WHERE filling) THEN
        RAISE EXCEPTION 'credentials are taken over into a ledger that is being filled only';
    END IF;
    DELETE FROM credentials;
    PERFORM keep_credentials(principals, kinds, verifiers);
END $$;
