"""Each event of the audit trail is chained to the one before it, by the database itself.

Whoever writes to the trail does so through `audit_record`; when the transaction commits, `audit_chain_event` links its
events to the chain of their organisation. The byte strings that are hashed stand in docs/audit.md. The functions run
with the rights of the owner of the tables, so the role of the application needs no more than to read them.
"""

import uuid

import django.db.models.deletion
from django.core.validators import MinValueValidator
from django.db import migrations, models

_ORG = models.ForeignKey(
    db_constraint=False,
    db_index=False,
    null=True,
    on_delete=django.db.models.deletion.PROTECT,
    related_name="+",
    to="tenants.organization",
)

FUNCTIONS = """
DROP TRIGGER audit_event_append_only ON audit_event;

-- The fields of an event, each behind its length; a length of -1 is NULL. Shown in docs/audit.md for other programs.
CREATE FUNCTION audit_field(value text) RETURNS bytea LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT coalesce(int4send(octet_length(convert_to(value, 'UTF8'))) || convert_to(value, 'UTF8'), int4send(-1))
$$;
CREATE FUNCTION audit_canonical(event audit_event) RETURNS bytea LANGUAGE plpgsql STABLE PARALLEL SAFE AS $$
BEGIN
    RETURN convert_to('erpc/audit-event/v1', 'UTF8')
        || audit_field(event.org_id::text) || audit_field(event.id::text)
        || audit_field((extract(epoch FROM event.created_at) * 1000000)::bigint::text)
        || audit_field(event.actor_kind) || audit_field(event.actor_id) || audit_field(event.actor_label)
        || audit_field(event.address::text) || audit_field(event.request_id) || audit_field(event.action)
        || audit_field(event.target_type) || audit_field(event.target_id) || audit_field(event.details::text);
END $$;

CREATE FUNCTION audit_record(
    org uuid, actor_kind text, actor_id text, actor_label text, address inet, request_id text, action text,
    target_type text, target_id text, details jsonb, OUT id bigint, OUT created_at timestamptz
) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO audit_event AS event (org_id, created_at, actor_kind, actor_id, actor_label, address, request_id,
                                      action, target_type, target_id, details)
         VALUES (org, clock_timestamp(), audit_record.actor_kind, audit_record.actor_id, audit_record.actor_label,
                 audit_record.address, audit_record.request_id, audit_record.action, audit_record.target_type,
                 audit_record.target_id, audit_record.details)
      RETURNING event.id, event.created_at INTO audit_record.id, audit_record.created_at;
END $$;

-- Links the events of this transaction, all at once when it commits: an event that can be seen and has no link yet is
-- one of its own. The locks last no longer than the commit, and whoever writes several chains takes them in the order
-- of their keys, so that nobody waits in a circle.
CREATE FUNCTION audit_link_events(first bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET enable_bitmapscan = off SET jit = off AS $$
DECLARE
    event audit_event;
    head audit_chain;
    chain uuid;
BEGIN
    FOR event IN
        SELECT * FROM audit_event AS own
         WHERE own.id >= first AND NOT EXISTS (SELECT FROM audit_link WHERE event_id = own.id)
         ORDER BY coalesce(own.org_id, '00000000-0000-0000-0000-000000000000'), own.id
    LOOP
        chain := coalesce(event.org_id, '00000000-0000-0000-0000-000000000000');
        IF head.id IS DISTINCT FROM chain THEN
            UPDATE audit_chain SET sequence = head.sequence, hash = head.hash WHERE id = head.id;
            SELECT * INTO head FROM audit_chain WHERE id = chain FOR NO KEY UPDATE;
            IF NOT FOUND THEN
                INSERT INTO audit_chain (id, org_id) VALUES (chain, event.org_id) ON CONFLICT (id) DO NOTHING;
                SELECT * INTO head FROM audit_chain WHERE id = chain FOR NO KEY UPDATE;
            END IF;
        END IF;
        head.sequence := head.sequence + 1;
        head.hash := sha256(head.hash || int8send(head.sequence) || audit_canonical(event));
        INSERT INTO audit_link (event_id, org_id, sequence, hash)
             VALUES (event.id, event.org_id, head.sequence, head.hash);
    END LOOP;
    UPDATE audit_chain SET sequence = head.sequence, hash = head.hash WHERE id = head.id;
END $$;

CREATE FUNCTION audit_chain_event() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM audit_link WHERE event_id = NEW.id) THEN
        PERFORM audit_link_events(NEW.id);
    END IF;
    RETURN NULL;
END $$;

-- The seal is computed by the application, which has the key; here it only never goes backwards.
CREATE FUNCTION audit_seal_chain(chain uuid, key text, place bigint, link bytea, at timestamptz, code bytea)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    INSERT INTO audit_seal AS seal (chain_id, org_id, key_id, sequence, hash, sealed_at, mac)
         SELECT chain, head.org_id, key, place, link, at, code FROM audit_chain AS head
          WHERE head.id = chain AND (
                (head.sequence, head.hash) = (place, link) OR EXISTS (
                    SELECT FROM audit_link WHERE audit_link.org_id IS NOT DISTINCT FROM head.org_id
                       AND (audit_link.sequence, audit_link.hash) = (place, link)))
    ON CONFLICT (chain_id, key_id) DO UPDATE
            SET sequence = place, hash = link, sealed_at = at, mac = code WHERE seal.sequence <= place;
    RETURN FOUND;
END $$;

-- Removes the oldest events of an organisation that it keeps no longer, day by day; the triggers below refuse more.
CREATE FUNCTION audit_purge(org uuid, batch integer, OUT removed bigint, OUT place bigint, OUT link bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    head audit_chain;
    days integer;
    young bigint;
BEGIN
    removed := 0;
    SELECT audit_retention_days INTO days FROM organization WHERE organization.id = org;
    SELECT * INTO head FROM audit_chain WHERE id = org FOR NO KEY UPDATE;
    IF days IS NULL OR head.id IS NULL THEN
        RETURN;
    END IF;
    SELECT min(oldest.sequence) INTO young FROM (
        SELECT audit_link.sequence, event.created_at
          FROM audit_link JOIN audit_event AS event ON event.id = event_id
         WHERE audit_link.org_id = org AND audit_link.sequence > head.purged_sequence
         ORDER BY audit_link.sequence LIMIT batch + 1
    ) AS oldest WHERE oldest.created_at >= date_trunc('day', now() - make_interval(days => days), 'UTC');
    SELECT least(coalesce(young - 1, head.purged_sequence + batch), head.sequence - 1, max(audit_seal.sequence))
      INTO place FROM audit_seal WHERE chain_id = org HAVING count(*) > 0;
    IF place IS NULL OR place <= head.purged_sequence THEN
        RETURN;
    END IF;
    SELECT audit_link.hash INTO STRICT link
      FROM audit_link WHERE audit_link.org_id = org AND audit_link.sequence = place;
    UPDATE audit_chain SET purged_sequence = place, purged_hash = link WHERE id = org;
    DELETE FROM audit_event USING audit_link
     WHERE audit_event.id = event_id AND audit_link.org_id = org AND audit_link.sequence <= place;
    DELETE FROM audit_link WHERE audit_link.org_id = org AND audit_link.sequence <= place;
    GET DIAGNOSTICS removed = ROW_COUNT;
END $$;

CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

-- Only what lies behind the beginning of its chain may go.
CREATE FUNCTION audit_refuse_removal() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    is_purged boolean;
BEGIN
    IF TG_TABLE_NAME = 'audit_event' THEN
        SELECT link.sequence <= head.purged_sequence INTO is_purged
          FROM audit_link AS link JOIN audit_chain AS head ON head.id = link.org_id WHERE link.event_id = OLD.id;
    ELSE
        SELECT OLD.sequence <= head.purged_sequence INTO is_purged FROM audit_chain AS head WHERE head.id = OLD.org_id;
    END IF;
    IF is_purged THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

-- A chain only grows, and its beginning moves only past what its organisation keeps no longer and what was sealed.
CREATE FUNCTION audit_guard_chain() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    days integer;
BEGIN
    SELECT audit_retention_days INTO days FROM organization WHERE organization.id = OLD.id;
    IF NEW.id <> OLD.id OR NEW.org_id IS DISTINCT FROM OLD.org_id OR NEW.sequence < OLD.sequence
        OR NEW.purged_sequence < OLD.purged_sequence OR NEW.purged_sequence >= OLD.sequence
        OR days IS NULL OR days < 30
        OR NOT EXISTS (SELECT FROM audit_seal WHERE chain_id = OLD.id AND audit_seal.sequence >= NEW.purged_sequence)
        OR NOT EXISTS (SELECT FROM audit_link WHERE audit_link.org_id = OLD.id
                          AND (audit_link.sequence, audit_link.hash) = (NEW.purged_sequence, NEW.purged_hash))
        OR EXISTS (SELECT FROM audit_link JOIN audit_event AS event ON event.id = event_id
                    WHERE audit_link.org_id = OLD.id AND event.created_at >= now() - make_interval(days => days)
                      AND audit_link.sequence BETWEEN OLD.purged_sequence + 1 AND NEW.purged_sequence)
    THEN
        RAISE EXCEPTION '% only grows', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;

REVOKE ALL ON FUNCTION audit_record, audit_link_events, audit_seal_chain, audit_purge FROM PUBLIC;

-- What stands in the trail already.
LOCK TABLE audit_event IN SHARE ROW EXCLUSIVE MODE;
SELECT audit_link_events(0);

CREATE CONSTRAINT TRIGGER audit_event_chained AFTER INSERT ON audit_event DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION audit_chain_event();
CREATE TRIGGER audit_event_append_only BEFORE UPDATE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_event_kept BEFORE DELETE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_removal();
CREATE TRIGGER audit_event_not_emptied BEFORE TRUNCATE ON audit_event
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_link_append_only BEFORE UPDATE ON audit_link
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_link_kept BEFORE DELETE ON audit_link
    FOR EACH ROW EXECUTE FUNCTION audit_refuse_removal();
CREATE TRIGGER audit_link_not_emptied BEFORE TRUNCATE ON audit_link
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_chain_grows BEFORE UPDATE ON audit_chain FOR EACH ROW
    WHEN (NEW.id <> OLD.id OR NEW.org_id IS DISTINCT FROM OLD.org_id OR NEW.sequence < OLD.sequence
          OR (NEW.purged_sequence, NEW.purged_hash) IS DISTINCT FROM (OLD.purged_sequence, OLD.purged_hash))
    EXECUTE FUNCTION audit_guard_chain();
CREATE TRIGGER audit_chain_kept BEFORE DELETE ON audit_chain
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_chain_not_emptied BEFORE TRUNCATE ON audit_chain
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_seal_grows BEFORE UPDATE ON audit_seal FOR EACH ROW
    WHEN (NEW.chain_id <> OLD.chain_id OR NEW.key_id <> OLD.key_id OR NEW.sequence < OLD.sequence)
    EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_seal_kept BEFORE DELETE ON audit_seal
    FOR EACH ROW EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_seal_not_emptied BEFORE TRUNCATE ON audit_seal
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
"""
NO_FUNCTIONS = """
DROP TRIGGER audit_event_chained ON audit_event;
DROP TRIGGER audit_event_append_only ON audit_event;
DROP TRIGGER audit_event_kept ON audit_event;
DROP TRIGGER audit_event_not_emptied ON audit_event;
DROP TRIGGER audit_link_append_only ON audit_link;
DROP TRIGGER audit_link_kept ON audit_link;
DROP TRIGGER audit_link_not_emptied ON audit_link;
DROP TRIGGER audit_chain_grows ON audit_chain;
DROP TRIGGER audit_chain_kept ON audit_chain;
DROP TRIGGER audit_chain_not_emptied ON audit_chain;
DROP TRIGGER audit_seal_grows ON audit_seal;
DROP TRIGGER audit_seal_kept ON audit_seal;
DROP TRIGGER audit_seal_not_emptied ON audit_seal;
DROP FUNCTION audit_record, audit_seal_chain, audit_purge, audit_canonical, audit_field, audit_chain_event,
    audit_link_events, audit_refuse, audit_refuse_removal, audit_guard_chain;
CREATE TRIGGER audit_event_append_only BEFORE UPDATE OR DELETE ON audit_event
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""


class Migration(migrations.Migration):
    dependencies = (("tenants", "0006_access"),)
    operations: tuple[migrations.operations.base.Operation, ...] = (
        migrations.AddField(
            model_name="organization",
            name="audit_retention_days",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="At least 30. Empty: for ever.",
                null=True,
                validators=[MinValueValidator(30)],
                verbose_name="days that the audit trail is kept",
            ),
        ),
        migrations.CreateModel(
            name="AuditChain",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ("sequence", models.BigIntegerField(db_default=0, default=0)),
                ("hash", models.BinaryField(db_default=bytes(32), default=bytes(32))),
                ("purged_sequence", models.BigIntegerField(db_default=0, default=0)),
                ("purged_hash", models.BinaryField(db_default=bytes(32), default=bytes(32))),
                ("org", _ORG),
            ],
            options={"db_table": "audit_chain"},
        ),
        migrations.CreateModel(
            name="AuditLink",
            fields=[
                (
                    "event",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="link",
                        serialize=False,
                        to="tenants.auditevent",
                    ),
                ),
                ("sequence", models.BigIntegerField()),
                ("hash", models.BinaryField()),
                ("org", _ORG),
            ],
            options={"db_table": "audit_link"},
        ),
        migrations.CreateModel(
            name="AuditSeal",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("chain_id", models.UUIDField()),
                ("key_id", models.CharField(max_length=64)),
                ("sequence", models.BigIntegerField()),
                ("hash", models.BinaryField()),
                ("sealed_at", models.DateTimeField()),
                ("mac", models.BinaryField()),
                ("org", _ORG),
            ],
            options={"db_table": "audit_seal"},
        ),
        migrations.AddConstraint(
            model_name="auditlink",
            constraint=models.UniqueConstraint(
                fields=("org", "sequence"), name="audit_link_in_sequence", nulls_distinct=False
            ),
        ),
        migrations.AddConstraint(
            model_name="auditseal",
            constraint=models.UniqueConstraint(fields=("chain_id", "key_id"), name="audit_seal_once_per_chain_and_key"),
        ),
        migrations.RunSQL(FUNCTIONS, NO_FUNCTIONS),
    )
