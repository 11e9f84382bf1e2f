"""How staff gets in, stays in and is kept out; through the front door."""

from __future__ import annotations

import html
import re
import time
from base64 import b32decode
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.checks import run_checks
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django_otp.oath import TOTP

from tenants.models import ApiKey, AuditEvent, Authenticator, Membership, Organization, RecoveryCode, Role, StaffSession
from tenants.sign_in import sealing, sessions

pytestmark = pytest.mark.django_db

NAME, PASSWORD = "ada", "correct horse battery"
LOGIN, CODE, INDEX = "/admin/login/", "/admin/login/code/", "/admin/"
SET_UP, OVERVIEW = "/admin/second-factor/set-up/", "/admin/second-factor/"
ME = "/api/v1/me"
FOUND, FORBIDDEN, TOO_MANY = 302, 403, 429


@pytest.fixture
def ada() -> User:
    user = User.objects.create_superuser(NAME, password=PASSWORD)
    Membership.objects.create(user=user, org=Organization.objects.create(slug="acme"), role=Role.ADMIN)
    return user


@pytest.fixture
def client(ada: User) -> Client:
    return Client(REMOTE_ADDR="192.0.2.1")


def give_password(client: Client, password: str = PASSWORD, username: str = NAME) -> Any:
    return client.post(LOGIN, {"username": username, "password": password, "next": INDEX})


def code_of(secret: bytes, steps: int = 0) -> str:
    totp = TOTP(secret)
    totp.time = time.time() + 30 * steps
    return f"{totp.token():06}"


def another(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


def offered_secret(page: str) -> bytes:
    found = re.search(r'<code class="sign-in-secret">([A-Z2-7 ]+)</code>', page)
    assert found is not None
    return b32decode(found[1].replace(" ", ""))


def set_up(client: Client) -> tuple[bytes, list[str]]:
    """Enrol whoever is signed in; return the secret and the recovery codes."""
    secret = offered_secret(client.get(SET_UP).content.decode())
    shown = client.post(SET_UP, {"code": code_of(secret)}).content.decode()
    codes = re.findall(r"\b(?:[a-z2-9]{4}-){3}[a-z2-9]{4}\b", html.unescape(shown))
    assert len(codes) == 10
    return secret, codes


@pytest.fixture
def enrolled(client: Client) -> tuple[bytes, list[str]]:
    """Ada has a second factor and is signed out; her last code was long ago."""
    give_password(client)
    secret, codes = set_up(client)
    client.post("/admin/logout/")
    let_time_pass()
    return secret, codes


def let_time_pass() -> None:
    """No code was given for a while, right or wrong."""
    Authenticator.objects.update(last_step=-1, throttling_failure_count=0, throttling_failure_timestamp=None)


def age(client: Client, **seconds: int) -> None:
    """Set back what the session remembers of the clock."""
    session = client.session
    for name, by in seconds.items():
        session[name] -= by
    session.save()


def is_in(client: Client) -> bool:
    return bool(client.get(INDEX).status_code == 200)


class TestSecondFactor:
    def test_password_and_code_lead_where_one_wanted_to_go(self, client: Client, enrolled: tuple[bytes, Any]) -> None:
        wanted = reverse("admin:tenants_apikey_changelist")
        first = client.post(LOGIN, {"username": NAME, "password": PASSWORD, "next": wanted})
        between = is_in(client), client.get(ME).status_code
        second = client.post(first.url, {"code": code_of(enrolled[0])})

        assert first.url.startswith(CODE)
        assert between == (False, 401)
        assert (second.status_code, second.url) == (FOUND, wanted)
        assert is_in(client)
        assert client.get(ME).status_code == 200

    @pytest.mark.parametrize(("steps", "lets_in"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
    def test_clocks_may_differ_by_one_step(
        self, client: Client, enrolled: tuple[bytes, Any], steps: int, lets_in: bool
    ) -> None:
        give_password(client)
        client.post(CODE, {"code": code_of(enrolled[0], steps)})

        assert is_in(client) is lets_in

    def test_no_code_works_twice_nor_after_a_later_one(self, client: Client, enrolled: tuple[bytes, Any]) -> None:
        secret, _ = enrolled
        later, sooner = code_of(secret), code_of(secret, -1)
        give_password(client)
        client.post(CODE, {"code": later})
        again = Client(REMOTE_ADDR="192.0.2.2")
        for code in (later, sooner):
            Authenticator.objects.update(throttling_failure_count=0)
            give_password(again)
            again.post(CODE, {"code": code})

        assert is_in(client)
        assert not is_in(again)

    def test_a_recovery_code_lets_in_once_however_it_is_written(self, client: Client, enrolled: Any) -> None:
        code = enrolled[1][3]
        give_password(client)
        client.post(CODE, {"code": f" {code.upper().replace('-', ' ')} "})
        again = Client(REMOTE_ADDR="192.0.2.2")
        give_password(again)
        again.post(CODE, {"code": code})

        assert is_in(client)
        assert not is_in(again)
        assert "9 of 10" in client.get(OVERVIEW).content.decode()

    @pytest.mark.parametrize("code", ["", "abcdef", "１２３４５６", "-12345", "1_2_3_4", "0" * 40, "\0" * 6, "0" * 16])
    def test_nonsense_is_no_code(self, client: Client, enrolled: Any, code: str) -> None:
        give_password(client)

        assert client.post(CODE, {"code": code}).status_code == 200
        assert not is_in(client)

    def test_after_a_wrong_code_the_right_one_has_to_wait(self, client: Client, enrolled: tuple[bytes, Any]) -> None:
        right = code_of(enrolled[0])
        give_password(client)
        client.post(CODE, {"code": another(right)})
        client.post(CODE, {"code": right})

        assert not is_in(client)

    def test_the_second_step_is_nothing_without_the_first(self, client: Client, enrolled: tuple[bytes, Any]) -> None:
        at_once = client.post(CODE, {"code": code_of(enrolled[0])})
        give_password(client)
        session = client.session
        session["half_way"] |= {"at": session["half_way"]["at"] - 300}
        session.save()
        too_late = client.post(CODE, {"code": code_of(enrolled[0])})
        give_password(client)
        User.objects.get().set_password("another passphrase")
        user = User.objects.get()
        user.set_password("another passphrase")
        user.save()
        outdated = client.post(CODE, {"code": code_of(enrolled[0])})

        assert [answer.url for answer in (at_once, too_late, outdated)] == [LOGIN] * 3
        assert not is_in(client)

    def test_a_stranger_is_not_sent_to_another_site(self, client: Client, enrolled: tuple[bytes, Any]) -> None:
        first = client.post(LOGIN, {"username": NAME, "password": PASSWORD, "next": "https://evil.example/"})
        second = client.post(
            f"{CODE}?next=//evil.example/", {"code": code_of(enrolled[0]), "next": "https://evil.example"}
        )

        assert "evil" not in first.url
        assert second.url == INDEX

    def test_nobody_is_enrolled_by_a_wrong_code_or_with_somebody_elses_secret(self, client: Client) -> None:
        give_password(client)
        secret = offered_secret(client.get(SET_UP).content.decode())
        refused = client.post(SET_UP, {"code": another(code_of(secret))})
        stranger = Client()
        stranger.force_login(User.objects.create_superuser("eve"))
        stranger.post(SET_UP, {"code": code_of(secret)})

        assert offered_secret(refused.content.decode()) == secret
        assert another(code_of(secret)) not in refused.content.decode()
        assert not Authenticator.objects.exists()

    def test_another_device_takes_the_place_of_the_first(self, client: Client, enrolled: tuple[bytes, Any]) -> None:
        give_password(client)
        client.post(CODE, {"code": enrolled[1][0]})
        elsewhere = Client(REMOTE_ADDR="192.0.2.2")
        give_password(elsewhere)
        elsewhere.post(CODE, {"code": enrolled[1][1]})
        assert is_in(elsewhere)

        secret, _ = set_up(client)

        assert secret != enrolled[0]
        assert is_in(client)
        assert not is_in(elsewhere)
        assert Authenticator.objects.count() == 1
        assert RecoveryCode.objects.count() == 10
        assert AuditEvent.objects.filter(action="second_factor.enrolled").count() == 2

    def test_new_recovery_codes_void_the_old_and_removal_voids_all(self, client: Client, enrolled: Any) -> None:
        give_password(client)
        client.post(CODE, {"code": code_of(enrolled[0])})
        before = set(RecoveryCode.objects.values_list("code_sha256", flat=True))
        client.post("/admin/second-factor/recovery-codes/")
        assert not before & set(RecoveryCode.objects.values_list("code_sha256", flat=True))

        client.post("/admin/second-factor/remove/")

        assert not Authenticator.objects.exists()
        assert not RecoveryCode.objects.exists()
        assert is_in(client)
        assert set(AuditEvent.objects.values_list("action", flat=True)) >= {
            "second_factor.recovery_codes_issued",
            "second_factor.removed",
        }


class TestRequired:
    @pytest.fixture(autouse=True)
    def _required(self, settings: Any) -> None:
        settings.STAFF_SECOND_FACTOR = "required"

    def test_without_one_nothing_is_open_but_setting_it_up(self, client: Client, ada: User) -> None:
        signed_in = give_password(client)
        led = client.get(signed_in.url, follow=True)
        closed = [
            client.get(address).status_code
            for address in (
                INDEX,
                OVERVIEW,
                "/admin/password_change/",
                "/admin/jsi18n/",
                "/admin/auth/user/",
                reverse("admin:connectors_erpconnection_changelist"),
            )
        ]
        posted = client.post(reverse("admin:tenants_apikey_add"), {"name": "x", "role": "ADMIN"})

        assert led.redirect_chain[-1][0] == SET_UP
        assert closed == [FOUND] * len(closed)
        assert posted.status_code == FOUND
        assert client.get(ME).status_code == FORBIDDEN
        assert client.get(ME).json()["detail"] == "The second factor is missing."

        set_up(client)

        assert is_in(client)
        assert client.get(ME).status_code == 200
        client.post("/admin/second-factor/remove/")
        assert Authenticator.objects.exists()

    def test_whoever_has_to_set_it_up_can_leave(self, client: Client) -> None:
        give_password(client)
        client.post("/admin/logout/")

        assert not StaffSession.objects.filter(user__isnull=False).exists()

    def test_who_is_no_staff_sets_nothing_up(self) -> None:
        visitor = Client()
        visitor.force_login(User.objects.create_user("vic"))

        assert visitor.get(SET_UP).status_code == FOUND

    def test_the_check_is_content(self, settings: Any) -> None:
        required = run_checks(tags=["tenants"], include_deployment_checks=True)
        settings.STAFF_SECOND_FACTOR = "optional"
        optional = run_checks(tags=["tenants"], include_deployment_checks=True)

        assert (required, [warning.id for warning in optional]) == ([], ["tenants.W001"])


class TestLost:
    def test_a_superuser_resets_it_with_a_reason(self, client: Client, enrolled: Any, ada: User) -> None:
        give_password(client)
        client.post(CODE, {"code": code_of(enrolled[0])})
        root = Client()
        root.force_login(User.objects.create_superuser("root"))
        reset = reverse("admin:auth_user_reset_second_factor", args=[ada.pk])
        assert "Reset second factor" in root.get(reverse("admin:auth_user_change", args=[ada.pk])).content.decode()

        for refused in (root.post(reset), root.post(reset, {"confirmed": "yes", "reason": " "})):
            assert refused.status_code == 200
            assert Authenticator.objects.exists()
        root.post(reset, {"confirmed": "yes", "reason": "telephone stolen"})

        assert not Authenticator.objects.exists()
        assert not is_in(client)
        event = AuditEvent.objects.get(action="second_factor.reset")
        assert (event.actor_label, event.target_id, event.details["reason"]) == (
            "root",
            str(ada.pk),
            "telephone stolen",
        )

    def test_nobody_else_does(self, enrolled: Any, ada: User) -> None:
        eve = Client()
        eve.force_login(User.objects.create_user("eve", is_staff=True))

        answer = eve.post(reverse("admin:auth_user_reset_second_factor", args=[ada.pk]), {"confirmed": "yes"})

        assert answer.status_code == FORBIDDEN
        assert Authenticator.objects.exists()

    def test_an_operator_does_by_command(self, client: Client, enrolled: Any) -> None:
        call_command("reset_second_factor", NAME, reason="called me")

        assert not Authenticator.objects.exists()
        assert AuditEvent.objects.get(action="second_factor.reset").details["reason"] == "called me"
        for username, reason, returncode in ((NAME, "again", 1), ("nobody", "x", 2), (NAME, " ", 2)):
            with pytest.raises(CommandError) as refusal:
                call_command("reset_second_factor", username, reason=reason)
            assert refusal.value.returncode == returncode


class TestLockOut:
    def test_names_that_exist_and_others_are_told_the_same(self, client: Client) -> None:
        texts = []
        for username in (NAME, "nobody"):
            answers = [give_password(client, "wrong", username) for _ in range(6)]
            assert [answer.status_code for answer in answers] == [200] * 4 + [TOO_MANY] * 2
            texts.append([re.sub(r"csrf\S+ value=\S+|" + username, "", each.content.decode()) for each in answers])

        assert texts[0] == texts[1]
        assert give_password(client).status_code == TOO_MANY
        assert give_password(Client(REMOTE_ADDR="192.0.2.9")).status_code == FOUND

    def test_codes_count_as_passwords_do_and_leave_no_trace(self, client: Client, enrolled: tuple[bytes, Any]) -> None:
        right = code_of(enrolled[0])
        give_password(client, "wr0ng-p4ssw0rd")
        give_password(client)
        answers = []
        for _ in range(4):
            let_time_pass()
            answers.append(client.post(CODE, {"code": another(right)}).status_code)
        let_time_pass()
        locked = client.post(CODE, {"code": right}).status_code
        with connection.cursor() as cursor:
            cursor.execute("SELECT post_data FROM axes_accessattempt")
            kept = str(cursor.fetchall())

        assert (answers, locked) == ([200, 200, 200, TOO_MANY], TOO_MANY)
        assert not is_in(client)
        assert another(right) not in kept
        assert "wr0ng" not in kept
        call_command("axes_reset_username", NAME)
        assert client.post(CODE, {"code": right}).status_code == FOUND

    def test_it_is_over_after_a_while(self, client: Client) -> None:
        for _ in range(5):
            give_password(client, "wrong")
        with connection.cursor() as cursor:
            cursor.execute("UPDATE axes_accessattempt SET attempt_time = attempt_time - interval '16 minutes'")

        assert give_password(client).status_code == FOUND


class TestConfirmation:
    ADD = property(lambda self: reverse("admin:tenants_apikey_add"))

    @pytest.fixture
    def stale(self, client: Client) -> Client:
        give_password(client)
        age(client, confirmed_at=301)
        return client

    def form(self) -> dict[str, Any]:
        return {"org": Organization.objects.get().pk, "name": "shop", "role": Role.OPS}

    @staticmethod
    def held(page: Any) -> dict[str, str]:
        fields = dict(re.findall(r'name="(confirm-held)" value="([0-9a-f]*)"', page.content.decode()))
        assert fields
        return fields

    def test_what_was_sent_goes_on_afterwards(self, stale: Client) -> None:
        asked = stale.post(self.ADD, self.form())
        assert not ApiKey.objects.exists()
        assert "shop" not in asked.content.decode()

        wrong = stale.post(self.ADD, {**self.held(asked), "confirm-password": "wrong"})
        assert not ApiKey.objects.exists()
        key_before = stale.session.session_key
        issued = stale.post(self.ADD, {**self.held(wrong), "confirm-password": PASSWORD})

        assert ApiKey.objects.get().name == "shop"
        assert "erpk_" in issued.content.decode()
        assert stale.session.session_key != key_before
        assert AuditEvent.objects.filter(action="sign_in.confirmed").count() == 1

    def test_what_was_sent_elsewhere_or_is_forged_does_not_go_on(self, stale: Client) -> None:
        asked = stale.post(reverse("admin:auth_user_add"), self.form())
        for held in (self.held(asked)["confirm-held"], "00" * 60, "zz", ""):
            age(stale, confirmed_at=301)
            answer = stale.post(self.ADD, {"confirm-held": held, "confirm-password": PASSWORD})
            assert (answer.status_code, answer.url) == (FOUND, self.ADD)

        assert not ApiKey.objects.exists()

    def test_a_page_that_is_looked_at_opens_afterwards(self, stale: Client) -> None:
        asked = stale.get(SET_UP)
        answer = stale.post(SET_UP, {**self.held(asked), "confirm-password": PASSWORD})

        assert b"sign-in-secret" not in asked.content
        assert answer.url == SET_UP
        assert b"sign-in-secret" in stale.get(SET_UP).content

    def test_the_code_is_asked_for_as_well(self, client: Client, enrolled: tuple[bytes, Any]) -> None:
        give_password(client)
        client.post(CODE, {"code": enrolled[1][0]})
        age(client, confirmed_at=301)
        held = self.held(client.post(self.ADD, self.form()))

        client.post(self.ADD, {**held, "confirm-password": PASSWORD})
        client.post(self.ADD, {**held, "confirm-password": PASSWORD, "confirm-code": "000000"})
        assert not ApiKey.objects.exists()
        let_time_pass()
        client.post(self.ADD, {**held, "confirm-password": PASSWORD, "confirm-code": code_of(enrolled[0])})

        assert ApiKey.objects.exists()

    def test_guesses_are_counted(self, stale: Client) -> None:
        held = {"confirm-held": "", "confirm-password": "wrong"}
        answers = [stale.post("/admin/confirm/", held).status_code for _ in range(5)]

        assert answers == [200] * 4 + [TOO_MANY]
        assert stale.post("/admin/confirm/", held | {"confirm-password": PASSWORD}).status_code == TOO_MANY

    def test_the_api_wants_it_of_a_session(self, stale: Client) -> None:
        webhook = {"name": "Shop", "url": "https://example.com/hook"}
        refused = stale.post("/api/v1/webhooks", webhook, content_type="application/json")
        stale.post("/admin/confirm/", {"confirm-held": "", "confirm-password": PASSWORD})
        taken = stale.post("/api/v1/webhooks", webhook, content_type="application/json")

        assert (refused.status_code, "/admin/confirm/" in refused.json()["hint"]) == (FORBIDDEN, True)
        assert taken.status_code == 201

    @pytest.mark.parametrize(
        ("method", "address"),
        [
            ("post", "/admin/auth/user/add/"),
            ("post", "/admin/auth/user/{0}/change/"),
            ("post", "/admin/auth/user/{0}/password/"),
            ("post", "/admin/auth/user/{0}/delete/"),
            ("post", "/admin/auth/user/{0}/reset-second-factor/"),
            ("post", "/admin/auth/user/"),
            ("post", "/admin/tenants/organization/{1}/change/"),
            ("post", "/admin/connectors/webhook/add/"),
            ("post", "/admin/connectors/webhook/x/rotate-secret/"),
            ("get", "/admin/connectors/erpexport/x/document/"),
            ("get", "/admin/connectors/erpexport/x/document/download/"),
            ("get", "/admin/second-factor/set-up/"),
            ("post", "/admin/second-factor/recovery-codes/"),
            ("post", "/admin/second-factor/remove/"),
        ],
    )
    def test_every_sensitive_page_asks(self, stale: Client, ada: User, method: str, address: str) -> None:
        address = address.format(ada.pk, Organization.objects.get().pk)

        answer = getattr(stale, method)(address)

        assert answer.status_code == 200
        assert "Confirm it is you" in answer.content.decode()


class TestSession:
    def test_the_database_has_no_key_and_its_rows_open_nothing(self, client: Client) -> None:
        give_password(client)
        key = client.session.session_key
        row = StaffSession.objects.get(user__isnull=False)
        stolen = Client()
        stolen.cookies["sessionid"] = row.session_key
        moved = Client()
        moved.cookies["sessionid"] = "k" * 32
        StaffSession.objects.create(
            session_key=sessions.hash_of("k" * 32), session_data=row.session_data, expire_date=row.expire_date
        )

        assert is_in(client)
        assert key not in str(StaffSession.objects.values())
        assert not is_in(stolen)
        assert not is_in(moved)

    def test_it_ends_when_idle_and_at_its_age(self, client: Client, settings: Any) -> None:
        settings.SESSION_IDLE_SECONDS = 600
        give_password(client)
        left = StaffSession.objects.get(user__isnull=False).expire_date - timezone.now()
        age(client, signed_in_at=settings.SESSION_COOKIE_AGE - 5)
        assert is_in(client)
        age(client, signed_in_at=5)
        too_old = is_in(client)
        give_password(client)
        StaffSession.objects.update(expire_date=timezone.now())

        assert timedelta(seconds=590) < left <= timedelta(seconds=600)
        assert not too_old
        assert not is_in(client)

    @pytest.mark.parametrize(("headers", "is_postponed"), [({}, True), ({"Sec-Fetch-Mode": "cors"}, False)])
    def test_what_a_person_does_postpones_the_end(self, client: Client, headers: Any, is_postponed: bool) -> None:
        give_password(client)
        before = timezone.now() + timedelta(minutes=10)
        StaffSession.objects.update(expire_date=before)
        client.get(INDEX, headers=headers)

        assert (StaffSession.objects.get(user__isnull=False).expire_date > before) is is_postponed

    def test_it_gets_a_new_key_at_each_step(self, client: Client, enrolled: tuple[bytes, Any]) -> None:
        client.get(LOGIN)
        fixed = client.session
        fixed["planted"] = True
        fixed.save()
        client.cookies["sessionid"] = fixed.session_key
        keys = [fixed.session_key]
        give_password(client)
        keys.append(client.session.session_key)
        client.post(CODE, {"code": code_of(enrolled[0])})
        keys.append(client.session.session_key)

        assert len(set(keys)) == 3
        assert not any(sessions.SessionStore().exists(key) for key in keys[:2])

    @pytest.mark.parametrize("how", ["password", "deactivated", "own password"])
    def test_all_of_a_person_end(self, client: Client, ada: User, how: str) -> None:
        give_password(client)
        elsewhere = Client()
        give_password(elsewhere)
        if how == "own password":
            new = "another long passphrase"
            form = {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
            assert elsewhere.post("/admin/password_change/", form).status_code == FOUND
            assert is_in(elsewhere)
            assert AuditEvent.objects.filter(action="account.password_changed").exists()
        elif how == "password":
            ada.set_password("another long passphrase")
            ada.save()
        else:
            ada.is_active = False
            ada.save()
            ada.is_active = True
            ada.save()

        assert not is_in(client)

    def test_the_cookies_are_for_this_host_over_https_alone(self, client: Client) -> None:
        morsel = give_password(client).cookies["sessionid"]

        assert (morsel["httponly"], morsel["samesite"], morsel["max-age"], morsel["path"]) == (True, "Lax", "", "/")


class TestPassword:
    @pytest.mark.parametrize("password", ["short-one-1", "qwerty123456", "199019901990", "ada.lovelace1"])
    def test_a_weak_one_is_refused(self, client: Client, ada: User, password: str) -> None:
        User.objects.update(email="ada.lovelace@example.com")
        give_password(client)
        form = {"old_password": PASSWORD, "new_password1": password, "new_password2": password}

        assert client.post("/admin/password_change/", form).status_code == 200
        ada.refresh_from_db()
        assert ada.check_password(PASSWORD)


class TestSealing:
    def test_it_opens_for_its_owner_and_purpose_alone(self) -> None:
        blob = sealing.seal(b"secret", purpose="p", owner=1)

        assert sealing.unseal(blob, purpose="p", owner=1) == b"secret"
        flipped = [blob[:at] + bytes([blob[at] ^ 1]) + blob[at + 1 :] for at in range(len(blob))]
        cut = [blob[:at] for at in range(len(blob))]
        for wrong in flipped + cut:
            with pytest.raises(sealing.Unreadable):
                sealing.unseal(wrong, purpose="p", owner=1)
        for other in ({"purpose": "q", "owner": 1}, {"purpose": "p", "owner": 2}):
            with pytest.raises(sealing.Unreadable):
                sealing.unseal(blob, **other)

    def test_an_earlier_key_opens_until_the_next_use(
        self, client: Client, enrolled: tuple[bytes, Any], settings: Any
    ) -> None:
        before = settings.SECRET_KEY
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "N" + "0123456789" * 5, [before]
        give_password(client)
        client.post(CODE, {"code": code_of(enrolled[0], -1)})
        assert is_in(client)
        client.post("/admin/logout/")
        settings.SECRET_KEY_FALLBACKS = []
        give_password(client)
        client.post(CODE, {"code": code_of(enrolled[0])})

        assert is_in(client)

    def test_what_does_not_open_lets_nobody_in(self, client: Client, enrolled: Any, settings: Any) -> None:
        """Moved to another person, a secret is as good as none."""
        eve = User.objects.create_superuser("eve", password=PASSWORD)
        Authenticator.objects.update(user=eve)
        give_password(client, username="eve")
        client.post(CODE, {"code": code_of(enrolled[0])})

        assert not is_in(client)


def test_accounts_are_audited_and_no_password_with_them(client: Client, ada: User) -> None:
    give_password(client)
    new: Callable[..., dict[str, str]] = lambda **more: {  # noqa: E731
        "username": "bob", "password1": "a fresh passphrase", "password2": "a fresh passphrase",
        "usable_password": "true", **more,
    }  # fmt: skip
    client.post(reverse("admin:auth_user_add"), new())
    bob = User.objects.get(username="bob")
    client.post(reverse("admin:auth_user_delete", args=[bob.pk]), {"post": "yes"})

    assert set(AuditEvent.objects.values_list("action", flat=True)) >= {"account.created", "account.deleted"}
    assert "passphrase" not in str(list(AuditEvent.objects.values()))
