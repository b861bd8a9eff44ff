"""Signs tokens for tests, and serves its public keys over HTTP on this machine."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

SECRET = "s" * 40
ISSUER, AUDIENCE = "https://issuer.example", "agents"


class Issuer:
    """Signs tokens, and serves its public keys; counts who asks for them."""

    def __init__(self) -> None:
        self.keys: dict[str, rsa.RSAPrivateKey] = {}
        self.asked = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                raw = json.dumps({"keys": list(map(issuer.describe, issuer.keys))}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/keys"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def add(self, kid: str) -> None:
        self.keys[kid] = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def describe(self, kid: str) -> dict[str, Any]:
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.keys[kid].public_key(), as_dict=True)
        return {**public, "kid": kid, "use": "sig", "alg": "RS256"}

    def sign(self, kid: str, **claims: Any) -> str:
        headers = {"kid": kid}
        return jwt.encode(standard(**claims), self.keys[kid], algorithm="RS256", headers=headers)


def standard(**claims: Any) -> dict[str, Any]:
    base = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time.time()) + 600, "sub": "somebody"}
    return {name: value for name, value in {**base, **claims}.items() if value is not None}


def token(**claims: Any) -> str:
    return jwt.encode(standard(**claims), SECRET, algorithm="HS256")
