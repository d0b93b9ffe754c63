"""A stand-in for a language model's server, so that this example needs no network and no GPU.

    python local_model.py --port 8011

It speaks OpenAI's protocol and writes questions and answers about the panel by rule. With footage
of your own, point `otter-edge syphus run --endpoint` at a real one instead (llama.cpp, vLLM, a
hosted service); nothing else changes.
"""

from __future__ import annotations

import argparse
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def next_step(lamp: str, lever: str) -> str:
    """What the panel's manual says."""
    if lamp == "green":
        return "Wait. The lamp is green, so there is nothing to do."
    if lever == "up":
        return "Pull the lever down first. The lamp is red."
    return "Press the black button. The lamp is red and the lever is down."


def pairs(annotation: str) -> list[dict[str, str]]:
    """Questions that somebody at the panel may ask, with answers."""
    found = re.search(r"the (\w+) lamp is lit, the lever is (\w+)", annotation)
    if found is None:
        return []
    lamp, lever = found.groups()
    step = next_step(lamp, lever)
    asked = {
        "What should I do next?": step,
        "I stand at the panel. What do I do now?": step,
        "Which lamp do I see?": f"The {lamp} lamp.",
        "Where is my lever?": f"The lever is {lever}.",
    }
    return [{"question": question, "answer": answer} for question, answer in asked.items()]


class Handler(BaseHTTPRequestHandler):
    """POST /v1/chat/completions."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        return None

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        text = json.dumps({"pairs": pairs(asked["messages"][-1]["content"])})
        sizes = {
            "prompt_tokens": len(str(asked["messages"])) // 4,
            "completion_tokens": len(text) // 4,
        }
        message = {"role": "assistant", "content": text}
        reply = {
            "id": "local",
            "object": "chat.completion",
            "created": 0,
            "model": asked["model"],
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": {**sizes, "total_tokens": sum(sizes.values())},
        }
        data = json.dumps(reply).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=8011, help="0 takes a free one (default 8011)")
    args = parser.parse_args()
    with ThreadingHTTPServer(("127.0.0.1", args.port), Handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/v1", flush=True)
        server.serve_forever()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
