"""API keys and service accounts: what programs of the organisation identify themselves with."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

from django.http import Http404
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from connectors.api import access_shapes, shapes
from connectors.api.schema import Answer, describe
from connectors.api.views import ApiView, ListView, found
from connectors.exceptions import InvalidInput
from tenants import api_keys
from tenants.models import ApiKey, ServiceAccount
from tenants.roles import Scope

_KEY: Final = Answer(description="The key as it is now.", model=access_shapes.ApiKeyShape)
_ISSUED: Final = Answer(
    description="The new key, with its token, which is never shown again.",
    model=access_shapes.IssuedApiKey,
    headers={"Location": "Where the key is."},
)
_ACCOUNT: Final = Answer(description="The account as it is now.", model=access_shapes.ServiceAccountShape)
_CONFLICT: Final = {409: ("CONFLICT",)}


class ApiKeysView(ListView):
    """The organisation's API keys."""

    scopes = {"GET": Scope.KEYS_READ, "POST": Scope.KEYS_MANAGE}

    @describe(
        "list_api_keys",
        "List API keys",
        answers={200: Answer(description="Newest first.", model=shapes.Page[access_shapes.ApiKeyShape])},
    )
    def get(self, request: Request) -> Response:
        """List the organisation's API keys, revoked ones included, never with a token."""
        return self.page(_keys(self), _show)

    @describe(
        "create_api_key",
        "Issue an API key",
        request=access_shapes.ApiKeyInput,
        request_examples={
            "A shop that submits orders, and no more": {
                "name": "shop",
                "role": "OPS",
                "scopes": ["exports:submit"],
                "networks": ["203.0.113.0/24"],
            }
        },
        answers={201: _ISSUED},
        problems={**_CONFLICT, 404: ("NOT_FOUND",)},  # the service account
    )
    def post(self, request: Request) -> Response:
        """Issue a key. With an API key, nobody gives more than that key has: no scope, no network, no later end."""
        wanted = access_shapes.ApiKeyInput.parse(request.data)
        key, token = api_keys.issue(
            self.org,
            self.actor,
            name=wanted.name,
            role=wanted.role,
            scopes=wanted.scopes,
            from_networks=wanted.networks,
            expires_at=wanted.expires_at,
            account=found(_accounts(self), wanted.account) if wanted.account else None,
            by=self.caller.key,
        )
        return _issued(key, token)


class ApiKeyView(ApiView):
    """One API key."""

    scopes = {"GET": Scope.KEYS_READ, "PATCH": Scope.KEYS_MANAGE, "DELETE": Scope.KEYS_MANAGE}

    @describe("get_api_key", "Show an API key", answers={200: _KEY})
    def get(self, request: Request, key_id: str) -> Response:
        """Show a key without its token."""
        return Response(_show(_found(self, key_id)))

    @describe(
        "change_api_key",
        "Change an API key",
        request=access_shapes.ApiKeyPatch,
        is_body_required=False,
        request_examples={"Only from our network": {"networks": ["203.0.113.0/24"]}},
        answers={200: _KEY},
        problems=_CONFLICT,
    )
    def patch(self, request: Request, key_id: str) -> Response:
        """Change name, scopes, networks or expiry. Its role and its account stay what they were."""
        key = _found(self, key_id)
        wanted = access_shapes.ApiKeyPatch.parse(request.data).wanted()
        if faults := tuple(access_shapes.scope_faults(key.role, wanted.get("scopes", ()))):
            raise InvalidInput(faults)
        api_keys.change(key, self.actor, wanted, by=self.caller.key)
        return Response(_show(_found(self, key_id)))

    @describe("revoke_api_key", "Revoke an API key", answers={204: Answer(description="It opens nothing any more.")})
    def delete(self, request: Request, key_id: str) -> Response:
        """Revoke a key for good; it stays in the list."""
        api_keys.revoke([_found(self, key_id)], self.actor)
        return Response(status=HTTPStatus.NO_CONTENT)


class RotationView(ApiView):
    """The successor of an API key."""

    scopes = {"POST": Scope.KEYS_MANAGE}

    @describe(
        "rotate_api_key",
        "Rotate an API key",
        request=access_shapes.RotationInput,
        request_examples={"Two days to change over": {"overlap_hours": 48}},
        is_body_required=False,
        answers={201: _ISSUED},
        problems=_CONFLICT,
    )
    def post(self, request: Request, key_id: str) -> Response:
        """Issue a successor that may do the same in the same networks; the old key expires after the overlap."""
        key = _found(self, key_id)
        overlap = timedelta(hours=access_shapes.RotationInput.parse(request.data).overlap_hours)
        return _issued(*api_keys.rotate(key, self.actor, overlap, by=self.caller.key))


class ServiceAccountsView(ListView):
    """The organisation's service accounts."""

    scopes = {"GET": Scope.KEYS_READ, "POST": Scope.KEYS_MANAGE}

    @describe(
        "list_service_accounts",
        "List service accounts",
        answers={200: Answer(description="Newest first.", model=shapes.Page[access_shapes.ServiceAccountShape])},
    )
    def get(self, request: Request) -> Response:
        """List the organisation's service accounts."""
        return self.page(_accounts(self), _show_account)

    @describe(
        "create_service_account",
        "Create a service account",
        request=access_shapes.ServiceAccountInput,
        request_examples={"The web shop": {"name": "web shop", "role": "OPS"}},
        answers={
            201: Answer(
                description="Created.",
                model=access_shapes.ServiceAccountShape,
                headers={"Location": "Where the account is."},
            )
        },
        problems=_CONFLICT,
    )
    def post(self, request: Request) -> Response:
        """Create an account; its keys are issued with `POST api-keys` and its id as `account`."""
        wanted = access_shapes.ServiceAccountInput.parse(request.data)
        account = api_keys.create_account(self.org, self.actor, name=wanted.name, role=wanted.role, by=self.caller.key)
        location = reverse("api:service-account", args=[account.pk])
        return Response(_show_account(account), status=HTTPStatus.CREATED, headers={"Location": location})


class ServiceAccountView(ApiView):
    """One service account."""

    scopes = {"GET": Scope.KEYS_READ, "PATCH": Scope.KEYS_MANAGE, "DELETE": Scope.KEYS_MANAGE}

    @describe("get_service_account", "Show a service account", answers={200: _ACCOUNT})
    def get(self, request: Request, account_id: UUID) -> Response:
        """Show a service account."""
        return Response(_show_account(found(_accounts(self), account_id)))

    @describe(
        "change_service_account",
        "Change a service account",
        request=access_shapes.ServiceAccountPatch,
        is_body_required=False,
        request_examples={"Stop all of its keys": {"disabled": True}},
        answers={200: _ACCOUNT},
        problems=_CONFLICT,
    )
    def patch(self, request: Request, account_id: UUID) -> Response:
        """Change name or role, disable or enable. A lower role confines the account's keys at once."""
        account = found(_accounts(self), account_id)
        wanted = access_shapes.ServiceAccountPatch.parse(request.data).wanted()
        return Response(_show_account(api_keys.change_account(account, self.actor, wanted, by=self.caller.key)))

    @describe(
        "delete_service_account",
        "Delete a service account",
        answers={204: Answer(description="It is gone.")},
        problems=_CONFLICT,
    )
    def delete(self, request: Request, account_id: UUID) -> Response:
        """Delete an account to which no key was ever issued; disable any other."""
        api_keys.delete_account(found(_accounts(self), account_id), self.actor)
        return Response(status=HTTPStatus.NO_CONTENT)


def _keys(view: ApiView) -> Any:
    return ApiKey.objects.of(view.org).select_related("org", "account")


def _accounts(view: ApiView) -> Any:
    return ServiceAccount.objects.of(view.org).select_related("org")


def _found(view: ApiView, key_id: str) -> ApiKey:
    key: ApiKey | None = _keys(view).filter(pk=key_id).first()
    if key is None:
        raise Http404
    return key


def _issued(key: ApiKey, token: str) -> Response:
    shown = access_shapes.IssuedApiKey(**_columns(key), token=token).as_json()
    location = reverse("api:api-key", args=[key.pk])
    return Response(shown, status=HTTPStatus.CREATED, headers={"Location": location})


def _show(key: ApiKey) -> dict[str, Any]:
    return access_shapes.ApiKeyShape(**_columns(key)).as_json()


def _columns(key: ApiKey) -> dict[str, Any]:
    same = access_shapes.ApiKeyShape.model_fields.keys() - {"account", "valid", "succeeds"}
    account = key.account and access_shapes.ServiceAccountSummary(id=key.account.pk, name=key.account.name)
    columns = {name: getattr(key, name) for name in same}
    return columns | {"account": account, "valid": key.is_valid, "succeeds": key.succeeds_id}


def _show_account(account: ServiceAccount) -> dict[str, Any]:
    return access_shapes.ServiceAccountShape(
        id=account.pk,
        name=account.name,
        role=account.role,
        disabled=account.disabled_at is not None,
        disabled_at=account.disabled_at,
        created_at=account.created_at,
    ).as_json()
