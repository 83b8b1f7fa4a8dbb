"""The official Python client as a machine with OAuth credentials: finds the issuer by itself, gets a token, lists the tools.

    client.py URL ISSUER CLIENT_ID
"""

import asyncio
import sys

from mcp import Client
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client


class Memory:
    tokens = None
    client = None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


async def main(url, issuer, client_id):
    auth = ClientCredentialsOAuthProvider(url, Memory(), client_id, "not-much-of-a-secret", scope="tools", issuer=issuer)
    async with Client(streamable_http_client(url, http_client=create_mcp_http_client(auth=auth)), mode="legacy") as client:
        print(" ".join(sorted(tool.name for tool in (await client.list_tools()).tools)))


asyncio.run(main(*sys.argv[1:]))
