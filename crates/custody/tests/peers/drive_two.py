"""One agent with the official Python client and two servers at once: a modern one over HTTP and a legacy one over stdio.

Input on stdin, one JSON object: {"modern": {"url", "headers", "calls"}, "legacy": {"command", "args", "env", "calls"}}
Output: {"modern": protocol revision, "legacy": protocol revision}
"""

import asyncio
import json
import os
import sys

from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client


async def drive(spec):
    modern, legacy = spec["modern"], spec["legacy"]
    http = streamable_http_client(modern["url"], http_client=create_mcp_http_client(headers=modern["headers"]))
    pipes = StdioServerParameters(
        command=legacy["command"], args=legacy["args"], env={**os.environ, **legacy["env"]}
    )
    async with Client(http, mode="auto") as one, Client(pipes, mode="legacy") as two:
        for number in range(max(len(modern["calls"]), len(legacy["calls"]))):
            for client, side in ((one, modern), (two, legacy)):
                for call in side["calls"][number : number + 1]:
                    await client.call_tool(call["tool"], call["arguments"])
        return {"modern": one.protocol_version, "legacy": two.protocol_version}


print(json.dumps(asyncio.run(drive(json.load(sys.stdin)))))
