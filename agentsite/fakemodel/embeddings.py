"""Vectors of texts in the wires of OpenAI and Google: texts that share words are near.

A text with `@@fail@@` in it is refused as an overloaded server would.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from agentsite.fakemodel.frames import encode

DIMENSIONS = 64
FAIL = "@@fail@@"
_GOOGLE = re.compile(r"/models/([^/:]+):batchEmbedContents$")
_WORDS = re.compile(r"\w+")


def answer(path: str, body: dict[str, Any]) -> tuple[int, bytes] | None:
    """Status and body of an embedding request; None for other paths."""
    if path.endswith("/embeddings"):
        given = body.get("input")
        texts = [given] if isinstance(given, str) else given
        return _refuse(texts) or (200, encode(_tell_openai(str(body.get("model")), texts or [])))
    if _GOOGLE.search(path):
        asked = body.get("requests", [])
        texts = ["".join(p.get("text", "") for p in each["content"]["parts"]) for each in asked]
        told = {"embeddings": [{"values": vector_of(text)} for text in texts]}
        return _refuse(texts) or (200, encode(told))
    return None


def vector_of(text: str) -> list[float]:
    """A bag of words, each at a place of its own."""
    vector = [0.001] * DIMENSIONS
    for word in _WORDS.findall(text.lower()):
        vector[hashlib.sha256(word.encode()).digest()[0] % DIMENSIONS] += 1.0
    return vector


def _tell_openai(model: str, texts: list[str]) -> dict[str, Any]:
    vectors = [
        {"object": "embedding", "index": place, "embedding": vector_of(text)}
        for place, text in enumerate(texts)
    ]
    tokens = sum(len(text) // 4 + 1 for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": model, "data": vectors, "usage": usage}


def _refuse(texts: Any) -> tuple[int, bytes] | None:
    if not isinstance(texts, list) or not texts or not all(texts):
        problem = {"message": "input must be texts that are not empty", "type": "invalid_request"}
        return 400, encode({"error": {**problem, "code": 400}})
    if any(FAIL in text for text in texts):
        problem = {"message": "The fake model is overloaded.", "type": "server_error"}
        return 503, encode({"error": {**problem, "code": 503, "status": "UNAVAILABLE"}})
    return None
