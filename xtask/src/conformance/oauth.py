"""What the suite's scenarios of authorization ask of a client, with the official Python client's own parts."""

import json
import os
from urllib.parse import parse_qs, urlparse

from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.auth.extensions.client_credentials import (
    ClientCredentialsOAuthProvider,
    PrivateKeyJWTOAuthProvider,
    SignedJWTParameters,
)
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata

REDIRECT = "http://localhost:3000/callback"


class Memory:
    """Tokens and client, for one run."""

    def __init__(self, client=None):
        self.tokens, self.client = None, client

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Browser:
    """A person who agrees at once: reads the code from the redirection."""

    def __init__(self):
        self.answer = {}

    async def open(self, url):
        async with create_mcp_http_client() as http:
            response = await http.get(url, follow_redirects=False)
            self.answer = parse_qs(urlparse(response.headers["location"]).query)

    async def back(self):
        value = lambda name: self.answer.get(name, [None])[0]
        return AuthorizationCodeResult(code=value("code") or "", state=value("state"), iss=value("iss"))


def provider(url):
    """The `auth` of an HTTP client, as the scenario wants it."""
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    scenario = os.environ.get("MCP_CONFORMANCE_SCENARIO", "")
    if scenario == "auth/client-credentials-basic":
        return ClientCredentialsOAuthProvider(
            url, Memory(), context["client_id"], context["client_secret"], issuer=context.get("issuer")
        )
    if scenario == "auth/client-credentials-jwt":
        signed = SignedJWTParameters(
            issuer=context["client_id"],
            subject=context["client_id"],
            signing_key=context["private_key_pem"],
            signing_algorithm=context.get("signing_algorithm", "ES256"),
        )
        assertions = signed.create_assertion_provider()
        return PrivateKeyJWTOAuthProvider(url, Memory(), context["client_id"], assertions, issuer=context.get("issuer"))
    known = None
    if "client_id" in context:
        known = OAuthClientInformationFull(
            client_id=context["client_id"], client_secret=context.get("client_secret"), redirect_uris=[REDIRECT], issuer=context.get("issuer")
        )
    browser = Browser()
    metadata = OAuthClientMetadata(
        client_name="custody-conformance",
        redirect_uris=[REDIRECT],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
    )
    # The suite's address for clients that are known by their own document.
    document = "https://conformance-test.local/client-metadata.json"
    return OAuthClientProvider(url, metadata, Memory(known), browser.open, browser.back, client_metadata_url=document)
