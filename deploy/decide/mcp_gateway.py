"""What an MCP gateway asks before it forwards a tool call, with nothing but Python's own library.

    DECIDE_TOKEN=... python3 mcp_gateway.py < mcp-call.json

reads one tools/call of JSON-RPC, asks, and prints what the gateway answers: the call as it would
be forwarded, or an error of JSON-RPC. Where nobody answers in time, the call is refused.
"""

import json
import os
import sys
import urllib.request

URL = os.environ.get("DECIDE_URL", "http://127.0.0.1:9700") + "/access/v1/evaluation"

# What a tool does and touches: the gateway's own knowledge, never the tool's or the model's word.
TOOLS = {
    "mail.send": ("send", lambda a: ["email:" + to for to in a.get("to", [])]),
    "crm.lookup": ("read", lambda a: ["db:crm." + str(a.get("table", ""))]),
    "crm.update": ("write", lambda a: ["db:crm." + str(a.get("table", ""))]),
}


def question(agent, call):
    """The evaluation of AuthZEN for a call of an agent whose token the gateway has verified."""
    name, arguments = call["params"]["name"], call["params"].get("arguments", {})
    access, touches = TOOLS[name]
    return {
        "subject": {"type": "agent", "id": agent["id"],
                    "properties": {"tenant_id": agent["tenant"], "peer_group": agent["group"]}},
        "action": {"name": "tools/call", "properties": {"access": access}},
        "resource": {"type": "tool", "id": name},
        "context": {"on_behalf_of": agent["user"], "bytes_sent": len(json.dumps(arguments)),
                    "resources": touches(arguments)},
    }


def permitted(body, request_id):
    request = urllib.request.Request(URL, json.dumps(body).encode(), {
        "Content-Type": "application/json", "X-Request-ID": request_id,
        "Authorization": "Bearer " + os.environ["DECIDE_TOKEN"]})
    try:
        with urllib.request.urlopen(request, timeout=0.5) as answer:
            return json.load(answer)["decision"] is True
    except (OSError, ValueError, KeyError):
        return False  # the gateway fails closed, whatever the service is told to do


def main():
    call = json.load(sys.stdin)
    agent = {"id": "crm-1", "tenant": "acme", "group": "crm", "user": "ada@example.com"}
    if call["params"]["name"] in TOOLS and permitted(question(agent, call), str(call["id"])):
        json.dump(call, sys.stdout)
    else:
        # Why is in the log of decisions: the agent need not know what is known of it.
        json.dump({"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32000, "message": "denied"}}, sys.stdout)


if __name__ == "__main__":
    main()
