"""A language model's server for tests: OpenAI's protocol over real HTTP, with every bad manner.

Replies depend on the request alone; which request is treated badly, and how, on its hash and on how
often it came. Run as a program it prints its port and writes every request's key to a file.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any, ClassVar

PHRASES = {
    "Simplified Chinese": ("第{n}个地方在哪里\uff1f", "它在门的旁边\uff0c号码是{n}。"),
    "Japanese": ("{n}番の場所はどこですか。", "それはドアの横にあります。"),
    "Spanish": ("¿Dónde está el lugar número {n}?", "Está al lado de la puerta de la cocina."),
    "German": ("Wo befindet sich der Ort mit der Nummer {n}?", "Er ist neben der Küchentür."),
    "French": ("Où se trouve l'endroit numéro {n} ?", "Il est à côté de la porte de la cuisine."),
    "Korean": ("{n}번 장소는 어디에 있습니까?", "그것은 문 옆에 있습니다."),
    "Arabic": ("أين يوجد المكان رقم {n}؟", "إنه بجانب الباب."),
}
MANNERS = ("well", "well", "well", "429", "500", "slow", "broken", "language", "short")


class Server(http.server.ThreadingHTTPServer):
    """Counts what it was asked; `manners` may be ("well",) for a server that behaves."""

    daemon_threads = True

    def __init__(
        self,
        manners: tuple[str, ...] = MANNERS,
        log: Path | None = None,
        slow_s: float = 2.0,
        think_s: float = 0.0,
        retry_after: str = "0.2",
    ) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.manners, self.log = manners, log
        self.slow_s, self.think_s, self.retry_after = slow_s, think_s, retry_after
        self.lock = threading.Lock()
        self.times: dict[str, int] = {}
        self.answered: list[str] = []
        self.arrivals: list[tuple[float, str]] = []  # when, what became of it

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    def __enter__(self) -> Server:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    languages: ClassVar = PHRASES

    def log_message(self, format: str, *args: object) -> None:
        return None

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key = self.headers["Idempotency-Key"]
        with self.server.lock:
            time_of_it = self.server.times[key] = self.server.times.get(key, 0) + 1
        manner = self._manner(body, time_of_it)
        with self.server.lock:
            self.server.arrivals.append((time.monotonic(), manner))
        if self.headers.get("Authorization") == "Bearer wrong":
            self._send(401, {"error": {"message": "no such key", "type": "invalid_request_error"}})
        elif manner == "429":
            self._send(
                429, {"error": {"message": "slow down"}}, {"Retry-After": self.server.retry_after}
            )
        elif manner == "500":
            self._send(500, {"error": {"message": "oh"}})
        else:
            time.sleep(self.server.slow_s if manner == "slow" else self.server.think_s)
            self._reply(body, key, manner)

    def _manner(self, body: dict[str, Any], time_of_it: int) -> str:
        """Badly once (transport) or for the first seed (content); well after that."""
        text = body["messages"][-1]["content"] + body["messages"][0]["content"]
        chosen = int(hashlib.sha256(text.encode()).hexdigest(), 16) % len(self.server.manners)
        manner = self.server.manners[chosen]
        over = time_of_it > 1 if manner in ("429", "500", "slow") else body.get("seed", 0) > 0
        return "well" if over else manner

    def _reply(self, body: dict[str, Any], key: str, manner: str) -> None:
        system, query = body["messages"][0]["content"], body["messages"][-1]["content"]
        language = next((name for name in PHRASES if f"into {name}," in system), None)
        pairs = _translated(query, language) if language else _written(query)
        if manner == "language" and language:
            pairs = [
                {"question": "Where is the red door?", "answer": "Beside the kitchen."}
                for _ in pairs
            ]
        if manner == "short" and language:
            pairs = pairs[1:]
        text = json.dumps({"pairs": pairs}, ensure_ascii=False)
        if manner == "broken":
            text = text[: len(text) // 2]
        prompt = sum(len(message["content"]) for message in body["messages"]) // 4 + 11
        usage = {"prompt_tokens": prompt, "completion_tokens": len(text.encode()) // 4 + 3}
        with self.server.lock:
            self.server.answered.append(key)
            if self.server.log is not None:
                with self.server.log.open("a") as file:
                    file.write(f"{key}\n")
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        self._send(
            200,
            {
                "id": key[:8],
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [choice],
                "usage": {**usage, "total_tokens": sum(usage.values())},
            },
        )

    def _send(self, code: int, value: object, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(value).encode()
        try:
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, text in (headers or {}).items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(data)
        except OSError:
            return  # the other side has given up


def _written(query: str) -> list[dict[str, str]]:
    """A few pairs from the query's own words, one of which breaks a rule now and then."""
    words = re.findall(r"[A-Za-z]{4,}", query) or ["thing"]
    number = 3 + len(query) % 4
    openings = (
        "Where is the",
        "What about my",
        "Should I take the",
        "Which way to the",
        "Is there a",
        "How do I reach the",
    )
    pairs = [
        {
            "question": f"{openings[at % 6]} {words[at % len(words)]} that I saw at place {at}?",
            "answer": f"The {words[(at + 1) % len(words)]} is beside the {words[at % len(words)]}.",
        }
        for at in range(number)
    ]
    if len(query) % 3 == 0:
        pairs.append(
            {"question": "What is in the caption that I see?", "answer": "As an AI I can't assist."}
        )
    if len(query) % 5 == 0:
        pairs.append(dict(pairs[0]))
    return pairs


def _translated(query: str, language: str) -> list[dict[str, str]]:
    question, answer = PHRASES[language]
    count = len(json.loads(query)["pairs"])
    return [
        {"question": question.format(n=at), "answer": answer.format(n=at)} for at in range(count)
    ]


if __name__ == "__main__":
    with Server(log=Path(sys.argv[1]), slow_s=0.2, think_s=float(sys.argv[2])) as made:
        print(made.url, flush=True)
        sys.stdin.read()
