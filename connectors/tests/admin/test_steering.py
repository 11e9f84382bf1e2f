"""Steering by hand: approval, resending, putting aside, dead letters by cause, pause, and how orders leave."""

import pytest

from connectors.models import ERPConnection, ERPExport
from connectors.services import exports, steering
from connectors.tests.admin.pages import at, messages, text
from connectors.tests.rows import an_export
from tenants.models import AuditEvent, Role

DEAD_LETTERS = "/admin/connectors/erpexport/dead-letters/"
FULL = {"code": "NO_SPACE", "message": "There is no space left for /out.", "hint": "Free space."}


def reasons(org):
    return [event.details.get("reason") for event in AuditEvent.objects.of(org)]


class TestOneExport:
    def test_approval(self, superuser, mock, actor, submit):
        steering.configure(mock, actor, {"approval_limits": {"EUR": "0"}})
        export = submit()
        page = text(superuser.get(at("erpexport", "change", export.pk)))
        assert "waits for approval" in page
        assert ">Approve<" in page

        superuser.post(at("erpexport", "approve", export.pk))

        assert ERPExport.objects.get().held is False
        page = text(superuser.get(at("erpexport", "change", export.pk)))
        assert ">Approve<" not in page
        assert [said in page for said in ("Waits for approval: it is above", "Let go")] == [True, True]

    def test_resending_says_what_it_means_and_wants_a_reason(self, superuser, sent):
        page = at("erpexport", "resend", sent.pk)

        assert "may then have it twice" in text(superuser.post(page))
        assert "Give a reason" in text(superuser.post(page, {"confirmed": "yes", "reason": " "}))
        assert "Give a reason" in text(superuser.post(page, {"confirmed": "yes", "reason": "x" * 201}))
        assert ERPExport.objects.count() == 1
        answer = superuser.post(page, {"confirmed": "yes", "reason": "the ERP <lost> it"}, follow=True)

        new = ERPExport.objects.get(retry_of=sent)
        assert answer.redirect_chain[-1][0] == at("erpexport", "change", new.pk)
        assert "the ERP <lost> it" in text(answer)
        assert b"<lost>" not in answer.content
        assert "although this one had ended" in text(superuser.get(at("erpexport", "change", sent.pk)))

    def test_putting_aside(self, superuser, acme, mock):
        export = an_export(mock, "UNCONFIRMED")
        page = at("erpexport", "dismiss", export.pk)

        assert "cannot be submitted anew" in text(superuser.post(page))
        superuser.post(page, {"confirmed": "yes", "reason": "settled"})

        assert ERPExport.objects.get().dismissed_at is not None
        assert reasons(acme)[0] == "settled"


class TestDeadLetters:
    @pytest.fixture
    def group(self, mock):
        """Return what the buttons of one cause post."""
        for _ in range(3):
            newest = an_export(mock, "FAILED", error=FULL)
        return {
            "connection": mock.pk, "status": "FAILED", "code": "NO_SPACE", "until": newest.created_at.isoformat()
        }  # fmt: skip

    def test_are_grouped_by_cause_with_what_to_do(self, superuser, mock, group):
        an_export(mock, "FAILED", error=FULL | {"message": "There is no space left for /other."})
        an_export(mock, "UNCONFIRMED", error=FULL)
        an_export(mock, "REJECTED")
        an_export(mock, "SENT")

        answer = superuser.get(DEAD_LETTERS)

        causes = [(cause.status, cause.code, cause.count, cause.message) for cause, *_ in answer.context["groups"]]
        assert causes == [
            ("FAILED", "NO_SPACE", 4, "There is no space left for The path."),  # what the catalogue says of all
            ("UNCONFIRMED", "NO_SPACE", 1, FULL["message"]),
            ("REJECTED", "", 1, ""),
        ]
        for _, _, url, _ in answer.context["groups"]:
            assert superuser.get(url).context["cl"].result_count in (1, 4)
        assert "6 orders came to nothing" in text(answer)

    def test_all_of_a_cause_are_sent_again_after_asking(self, superuser, mock, group):
        assert "Send 3 orders again" in text(superuser.post(f"{DEAD_LETTERS}retry/", group))
        assert ERPExport.objects.count() == 3
        later = an_export(mock, "FAILED", error=FULL)

        answer = superuser.post(f"{DEAD_LETTERS}retry/", group | {"confirmed": "yes"}, follow=True)

        assert messages(answer) == ["3 orders sent again."]
        assert list(ERPExport.objects.unresolved()) == [later]

    def test_what_may_have_arrived_asks_as_much(self, superuser, mock, group):
        doubtful = an_export(mock, "UNCONFIRMED", error=FULL)
        posted = group | {"status": "UNCONFIRMED", "until": doubtful.created_at.isoformat()}

        assert "They are not there: send 1 order again" in text(superuser.post(f"{DEAD_LETTERS}retry/", posted))
        superuser.post(f"{DEAD_LETTERS}retry/", posted | {"confirmed": "yes"})

        assert ERPExport.objects.get(retry_of__isnull=False).retry_of == doubtful

    def test_all_of_a_cause_are_put_aside_with_a_reason(self, superuser, acme, group):
        assert "Give a reason" in text(superuser.post(f"{DEAD_LETTERS}dismiss/", group | {"confirmed": "yes"}))

        superuser.post(f"{DEAD_LETTERS}dismiss/", group | {"confirmed": "yes", "reason": "entered by hand"})

        assert reasons(acme) == ["entered by hand"] * 3 + [None]
        assert "No order waits for a person" in text(superuser.get(DEAD_LETTERS))

    def test_what_is_refused_is_said(self, superuser, mock, actor, group):
        ERPConnection.objects.update(status="DISABLED")

        answer = superuser.post(f"{DEAD_LETTERS}retry/", group | {"confirmed": "yes"}, follow=True)

        assert len(messages(answer)) == 3
        assert "no active connection" in messages(answer)[0]

    @pytest.mark.parametrize(
        "wrong", [{"connection": "x"}, {"status": "SENT"}, {"until": "yesterday"}, {"until": "2026-01-01T00:00:00"}]
    )
    def test_what_names_no_cause_is_not_found(self, superuser, group, wrong):
        assert superuser.post(f"{DEAD_LETTERS}retry/", group | wrong).status_code == 404

    @pytest.mark.parametrize("role", Role)
    def test_each_role_sees_its_own_and_does_what_it_may(self, person, sign_in, acme, foreign, group, role):
        theirs = an_export(foreign, "FAILED", error=FULL)
        client = sign_in(person(acme, role))
        page = client.get(DEAD_LETTERS)

        assert [cause.org_id for cause, *_ in page.context["groups"]] == [acme.pk]
        assert "globex" not in text(page).lower()
        assert ("Retry all" in text(page)) is (role != Role.VIEWER)
        until = theirs.created_at.isoformat()
        for name, more in (("retry", {}), ("dismiss", {"reason": "x"})):
            posted = group | more | {"confirmed": "yes", "until": until}
            client.post(f"{DEAD_LETTERS}{name}/", posted | {"connection": foreign.pk})
            if role == Role.VIEWER:
                client.post(f"{DEAD_LETTERS}{name}/", posted)
        assert not ERPExport.objects.filter(retry_of__isnull=False).exists()
        assert not ERPExport.objects.filter(dismissed_at__isnull=False).exists()

    def test_verbs_are_post_only_and_pages_need_somebody(self, superuser, client, person, sign_in, db):
        assert superuser.get(f"{DEAD_LETTERS}retry/").status_code == 405
        assert client.get(DEAD_LETTERS).status_code == 302
        assert sign_in(person()).get(DEAD_LETTERS).status_code == 404


class TestConnection:
    def test_pause_and_resume(self, superuser, acme, mock):
        page = at("erpconnection", "change", mock.pk)
        assert "Give a reason" in text(superuser.post(at("erpconnection", "pause", mock.pk), {"confirmed": "yes"}))

        superuser.post(at("erpconnection", "pause", mock.pk), {"confirmed": "yes", "reason": "stocktaking"})

        assert "stocktaking" in text(superuser.get(page))
        assert "a person has paused" in text(superuser.get("/admin/"))
        superuser.post(at("erpconnection", "resume", mock.pk))
        assert ERPConnection.objects.get().paused_at is None

    def test_how_orders_leave_goes_in_as_it_came_out(self, superuser, mock):
        windows = "fri sat 22:00-02:00 Europe/Berlin\n2026-12-24T12:00:00+01:00 to 2026-12-27T06:00:00+01:00"
        given = {
            "window": "1", "max_per_minute": "60", "ack_expected_within": "", "maintenance_windows": windows,
            "approval_limits": "EUR 10000.00\nUSD 1",
        }  # fmt: skip

        superuser.post(at("erpconnection", "delivery", mock.pk), given)

        stored = ERPConnection.objects.get()
        assert (stored.window, stored.max_per_minute, stored.ack_expected_within) == (1, 60, None)
        assert [sorted(window) for window in stored.maintenance_windows] == [
            ["days", "end", "start", "timezone"],
            ["from", "until"],
        ]
        assert stored.approval_limits == {"EUR": "10000.00", "USD": "1"}
        form = superuser.get(at("erpconnection", "change", mock.pk)).context["delivery_form"]
        assert {name: str(form[name].value() or "") for name in given} == given
        assert "window, max per minute, maintenance windows, approval limits" in text(
            superuser.get(at("erpconnection", "change", mock.pk))
        )
        before = AuditEvent.objects.count()
        superuser.post(at("erpconnection", "delivery", mock.pk), given)
        assert AuditEvent.objects.count() == before

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("window", "0", "greater than or equal to 1"),
            ("maintenance_windows", "at night", "Line 1 cannot be read"),
            (
                "maintenance_windows",
                "mon 1:00-2:00 UTC\n\ntue 22:00-02:00 Berlin",
                "Line 1, start must be a time of day",
            ),
            ("maintenance_windows", "moon 01:00-02:00 UTC", "Line 1, days.0"),
            ("maintenance_windows", "2026-12-24 to 2026-12-27", "Line 1, from must be a time with offset"),
            ("approval_limits", "EUR", "Line 1 cannot be read"),
            ("approval_limits", "EUR 1,50", "EUR must be a plain decimal number"),
            ("approval_limits", "EUR 1\neur 2", "Line 2 names EUR for the second time"),
        ],
    )
    def test_what_cannot_be_read_is_marked_and_nothing_is_saved(self, superuser, mock, name, value, said):
        answer = superuser.post(at("erpconnection", "delivery", mock.pk), {"window": "5", name: value})

        assert said in " ".join(answer.context["delivery_form"].errors[name])
        assert value in text(answer)
        assert ERPConnection.objects.get().window == 16


def test_the_overview_leads_to_what_waits(superuser, mock, actor, submit):
    steering.configure(mock, actor, {"approval_limits": {"EUR": "0"}})
    submit()
    for _ in range(2):
        an_export(mock, "FAILED")
    exports.dismiss(an_export(mock, "REJECTED"), actor, reason="x")

    page = text(superuser.get("/admin/"))

    assert "1 order waits for approval." in page
    assert f"{DEAD_LETTERS}?org={mock.org_id}" in page
    assert "came back rejected" not in page
    assert "waiting for more than an hour" not in page
    shown = superuser.get(f"/admin/connectors/erpexport/?held__exact=1&org__id__exact={mock.org_id}")
    assert shown.context["cl"].result_count == 1
