-- The only ways to write. Each function runs as the owner and in one round trip.

CREATE FUNCTION begin_ledger(new_id text, new_format integer) RETURNS text
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = scrinia, pg_temp AS $$
DECLARE
    held text;
BEGIN
    PERFORM 1 FROM ledger_head WHERE position = 0 FOR UPDATE;
    IF FOUND THEN
        INSERT INTO ledger VALUES (1, new_id, new_format)
            ON CONFLICT (one) DO UPDATE SET id = excluded.id, format = excluded.format;
    END IF;
    SELECT id INTO held FROM ledger;
    RETURN held;
END $$;

-- Appends a batch of units under the lock of the head row. Arrays of one group are of one length;
-- `..._units` says to which unit (0 ..) an element belongs, in order. A unit is accepted whole or not
-- at all. `stored` is the first position of a unit that was there already (`again`), else null;
-- those of accepted units follow `head` in order.
CREATE FUNCTION append(
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
    OUT head bigint, OUT accepted boolean[], OUT stored bigint[],
    OUT moved_units integer[], OUT moved_streams text[]
)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = scrinia, pg_temp AS $$
DECLARE
    running text COLLATE "C";
    horizon timestamptz;
    fresh integer[];
    refused integer[];
    known integer[] := '{}';
    appended bigint;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'append reads what others committed before it: use READ COMMITTED';
    END IF;
    IF current_setting('synchronous_commit') IN ('off', 'local', 'remote_write') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    PERFORM set_config('lock_timeout', '10s', true);
    SELECT h.position, h.running_time INTO STRICT head, running FROM ledger_head h FOR UPDATE;
    IF EXISTS (SELECT FROM closed WHERE NOT filling) THEN
        RAISE EXCEPTION 'This ledger %', (SELECT reason FROM closed) USING ERRCODE = 'SC001';
    END IF;
    horizon := clock_timestamp() - make_interval(hours => idempotency_hours);
    stored := array_fill(NULL::bigint, ARRAY[unit_count]);

    IF again THEN
        SELECT array_agg(found.first ORDER BY u), coalesce(array_agg(u) FILTER (WHERE found.is), '{}')
        INTO stored, known
        FROM generate_series(0, unit_count - 1) AS u
        LEFT JOIN LATERAL (
            SELECT min(e.position) AS first,
                   min(e.position) IS NOT NULL OR u <> ALL(event_units) AND EXISTS (
                       SELECT FROM unnest(answer_units, answer_principals, answer_keys)
                           AS a(unit, principal, key)
                       JOIN idempotency i USING (principal, key)
                       WHERE a.unit = u AND i.time >= horizon) AS is
            FROM unnest(event_units, event_ids) AS n(unit, id)
            JOIN events e ON e.event_id = n.id
            WHERE n.unit = u
        ) AS found ON true;
    END IF;

    SELECT coalesce(array_agg(c.unit), '{}'), coalesce(array_agg(c.stream), '{}')
    INTO moved_units, moved_streams
    FROM unnest(condition_units, condition_streams, condition_positions) AS c(unit, stream, seen)
    WHERE c.unit <> ALL(known) AND c.seen <> coalesce(
        (SELECT max(e.stream_position) FROM events e WHERE e.stream = c.stream COLLATE "C"), 0);

    SELECT moved_units || coalesce(array_agg(r.unit), '{}') INTO refused FROM (
        SELECT a.unit FROM unnest(answer_units, answer_principals, answer_keys)
            AS a(unit, principal, key)
        JOIN idempotency i USING (principal, key)
        WHERE i.time >= horizon
        UNION
        SELECT e.unit FROM unnest(event_units, event_times) AS e(unit, time)
        WHERE abs(extract(epoch FROM clock_timestamp() - e.time::timestamptz)) > skew_seconds_max
    ) AS r;

    SELECT array_agg(u = ANY(known) OR u <> ALL(refused) ORDER BY u),
           coalesce(array_agg(u) FILTER (WHERE u <> ALL(known) AND u <> ALL(refused)), '{}')
    INTO accepted, fresh
    FROM generate_series(0, unit_count - 1) AS u;

    INSERT INTO events
    SELECT head + row_number() OVER in_order, e.stream, e.stream_position, e.type, e.id, e.time,
           greatest(running, max(e.time COLLATE "C") OVER in_order),
           e.payload, e.key_id, e.signature, e.leaf_hash
    FROM unnest(event_units, event_streams, event_stream_positions, event_types, event_ids,
                event_times, event_payloads, event_key_ids, event_signatures, event_leaf_hashes)
        WITH ORDINALITY AS e(unit, stream, stream_position, type, id, time, payload, key_id,
                             signature, leaf_hash, n)
    WHERE e.unit = ANY(fresh)
    WINDOW in_order AS (ORDER BY e.n);
    GET DIAGNOSTICS appended = ROW_COUNT;

    INSERT INTO contents
    SELECT c.commitment, c.salt, c.body
    FROM unnest(content_units, content_commitments, content_salts, content_bodies)
        AS c(unit, commitment, salt, body)
    WHERE c.unit = ANY(fresh);

    IF cardinality(answer_units) > 0 THEN
        DELETE FROM idempotency WHERE time < horizon;
        INSERT INTO idempotency
        SELECT a.principal, a.key, a.request_hash, a.body, coalesce(e.position, a.position, 0),
               clock_timestamp()
        FROM unnest(answer_units, answer_principals, answer_keys, answer_request_hashes,
                    answer_bodies, answer_events, answer_positions)
            AS a(unit, principal, key, request_hash, body, event, position)
        LEFT JOIN events e ON e.event_id = event_ids[a.event + 1]
        WHERE a.unit = ANY(fresh);
    END IF;

    IF appended > 0 THEN
        UPDATE ledger_head h SET position = head + appended, running_time = greatest(
            running, (SELECT e.running_time FROM events e WHERE e.position = head + appended));
        PERFORM pg_notify('scrinia', (head + appended)::text);
    END IF;
END $$;

CREATE FUNCTION store_checkpoint(new_size bigint, new_note bytea, new_frontier bytea)
RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = scrinia, pg_temp AS $$
BEGIN
    LOCK TABLE checkpoints IN EXCLUSIVE MODE;
    INSERT INTO checkpoints SELECT new_size, new_note, new_frontier
        WHERE new_size > (SELECT coalesce(max(size), 0) FROM checkpoints);
    RETURN FOUND;
END $$;

-- The last position whose running time is not later: it grows with the position, so halve.
CREATE FUNCTION position_at(moment text) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = scrinia, pg_temp AS $$
DECLARE
    low bigint := 0;
    high bigint := (SELECT coalesce(max(position), 0) FROM events);
    middle bigint;
BEGIN
    WHILE low < high LOOP
        middle := (low + high + 1) / 2;
        IF (SELECT running_time FROM events WHERE position = middle) <= moment COLLATE "C" THEN
            low := middle;
        ELSE
            high := middle - 1;
        END IF;
    END LOOP;
    RETURN low;
END $$;

-- Keeps every other writer waiting until this transaction ends, at most so long after its client fell
-- silent.
CREATE FUNCTION lock_head(seconds_max integer) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = scrinia, pg_temp AS $$
BEGIN
    PERFORM set_config('idle_in_transaction_session_timeout', seconds_max * 1000 || 'ms', true);
    PERFORM set_config('lock_timeout', '10s', true);
    PERFORM 1 FROM ledger_head FOR UPDATE;
END $$;
