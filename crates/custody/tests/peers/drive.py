"""Drives one MCP server with the official Python client, and prints what it saw as one line of JSON.

Input on stdin, one JSON object:
  target   {"url": …, "headers": {…}, "sse": true for HTTP+SSE}  or  {"command": …, "args": […], "env": {…}, "cwd": …}
  mode     "auto" | "legacy" | a protocol revision
  calls    [{"tool": …, "arguments": {…}}, …]   made one after the other
Output: {"protocol", "server", "tools": […], "results": [{"result": …} | {"error": {"code", "message"}}, …]}
"""

import asyncio
import json
import os
import sys

from mcp import Client, StdioServerParameters
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client


def plain(value):
    return value.model_dump(mode="json", by_alias=True, exclude_none=True)


def transport(target):
    if target.get("sse"):
        return sse_client(target["url"], headers=target.get("headers") or None)
    if "url" in target:
        http = create_mcp_http_client(headers=target.get("headers") or None)
        return streamable_http_client(target["url"], http_client=http)
    return StdioServerParameters(
        command=target["command"],
        args=target.get("args", []),
        env={**os.environ, **target.get("env", {})},
        cwd=target.get("cwd"),
    )


async def drive(spec):
    async with Client(transport(spec["target"]), mode=spec["mode"], read_timeout_seconds=60) as client:
        tools, cursor = [], None
        while True:
            page = await client.list_tools(cursor=cursor)
            tools += [plain(tool) for tool in page.tools]
            cursor = page.next_cursor
            if cursor is None:
                break
        results = []
        for call in spec["calls"]:
            try:
                results.append({"result": plain(await client.call_tool(call["tool"], call["arguments"]))})
            except Exception as error:  # a JSON-RPC error is an answer, too
                detail = getattr(error, "error", None)
                if detail is None:
                    raise
                results.append({"error": {"code": detail.code, "message": detail.message}})
        return {
            "protocol": client.protocol_version,
            "server": client.server_info.name,
            "tools": tools,
            "results": results,
        }


print(json.dumps(asyncio.run(drive(json.load(sys.stdin)))))
