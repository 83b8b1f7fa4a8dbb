"""The official Python client as the suite's client under test: does what the scenario's server offers.

    client.py [--custody PROGRAM] URL

With --custody, a Custody of its own (`init`, `adopt`, `up`, in a temporary home) stands between client and server.
The suite says in the environment which revision to speak, and what to call.
"""

import asyncio
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from mcp import Client, types
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

import oauth

SAMPLES = {"string": "text", "number": 1.5, "integer": 2, "boolean": True, "array": [], "object": {}}


def sample(schema):
    """Arguments that a schema asks for."""
    return {name: SAMPLES.get(field.get("type"), "text") for name, field in (schema.get("properties") or {}).items()}


async def elicited(_context, params):
    fields = getattr(params, "requested_schema", None) or {}
    fields = (fields if isinstance(fields, dict) else fields.model_dump(by_alias=True)).get("properties") or {}
    content = {name: field.get("default", SAMPLES.get(field.get("type"), "text")) for name, field in fields.items()}
    return types.ElicitResult(action="accept", content=content)


async def attempt(what):
    """A server may refuse; the suite looks at what the client sent."""
    try:
        return await what
    except Exception as error:
        print(f"refused: {error!r}", file=sys.stderr)


async def drive(url, headers):
    revision = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "2025-11-25")
    mode = "auto" if revision >= "2026-07-28" else "legacy"
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    auth = oauth.provider(url) if authorizes() else None
    transport = streamable_http_client(url, http_client=create_mcp_http_client(headers=headers, auth=auth))
    async with Client(transport, mode=mode, elicitation_callback=elicited, read_timeout_seconds=15) as client:
        listed = await attempt(client.list_tools())
        tools = {tool.name: tool.model_dump(by_alias=True, exclude_none=True) for tool in (listed.tools if listed else [])}
        calls = [(call["name"], call["arguments"]) for call in context.get("toolCalls", [])]
        focal = tools.get("json_schema_2020_12_tool")
        for name, tool in tools.items():
            if focal and name != focal["name"]:
                calls.append((name, {"schema": focal["inputSchema"]}))
            elif not context.get("toolCalls") and not focal:
                calls.append((name, sample(tool["inputSchema"])))
        for name, arguments in calls:
            await attempt(client.call_tool(name, arguments))
        if client.server_capabilities and client.server_capabilities.resources:
            for resource in getattr(await attempt(client.list_resources()), "resources", []):
                await attempt(client.read_resource(str(resource.uri)))
        if client.server_capabilities and client.server_capabilities.prompts:
            for prompt in getattr(await attempt(client.list_prompts()), "prompts", []):
                await attempt(client.get_prompt(prompt.name, {argument.name: "text" for argument in prompt.arguments or []}))


def authorizes():
    """Whether the scenario is one of authorization: then the server is transparent, and the client brings no key of Custody's."""
    return os.environ.get("MCP_CONFORMANCE_SCENARIO", "").startswith("auth/")


def through(program, url, folder):
    """Starts Custody in front of the server. Returns the process, and where and how to reach the server through it."""
    custody = [program, "--home", str(folder / "home")]
    run = lambda *words: subprocess.run([*custody, *words], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    run("init")
    config = folder / "home/custody.toml"
    config.write_text(config.read_text().replace('automatic = ["freeze", "snapshot", "alert"]', 'automatic = ["alert"]'))
    entries = folder / ".mcp.json"
    entries.write_text(json.dumps({"mcpServers": {"suite": {"type": "http", "url": url}}}))
    run("adopt", str(entries), "--client", "python")
    headers = json.loads(entries.read_text())["mcpServers"]["suite"]["headers"]
    if authorizes():
        config.write_text(config.read_text().replace("[servers.suite]", '[servers.suite]\nauthorization = "transparent"'))
        headers = None
    up = ["--json", "up", "--agents", "127.0.0.1:0", "--operators", "127.0.0.1:0"]
    process = subprocess.Popen([*custody, *up], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    ready = json.loads(process.stdout.readline())
    return process, f"http://{ready['agents']}/mcp/suite", headers


def main():
    *options, url = sys.argv[1:]
    if not options:
        return asyncio.run(drive(url, None))
    with tempfile.TemporaryDirectory(prefix="custody-conformance-") as folder:
        process, url, headers = through(options[1], url, pathlib.Path(folder))
        try:
            asyncio.run(drive(url, headers))
        finally:
            process.terminate()
            process.wait()


main()
