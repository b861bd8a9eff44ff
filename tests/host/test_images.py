"""Pictures on their way to the model and back."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from tests.gates import Gates
from tests.lab import Lab, call, plan
from tests.requirements import requirement
from tests.wire_client import Client

RAW = b"\x89PNG\r\n\x1a\n" + bytes(range(64))
DATA = base64.b64encode(RAW).decode()
FAR = "https://pictures.example/cat.png"


def part(**source: Any) -> dict[str, Any]:
    return {"type": "image", "source": source}


@requirement("http.images", "http.message")
@pytest.mark.parametrize("agent", ["plain", "chat", "responses", "google"])
async def test_pictures_reach_the_model_and_can_be_fetched_again(
    client: Client, lab: Lab, agent: str
) -> None:
    word = f"whiskers-{agent}"
    message = [
        {"type": "text", "text": f"What is this? {word}"},
        part(type="base64", mediaType="image/png", data=DATA),
    ]
    more = {
        "images": [{"mimeType": "image/jpeg", "data": DATA}],
        "attachments": [{"name": "scan.gif", "mimeType": "image/gif", "base64": DATA}],
    }
    stream = await client.of(agent).talk(message, **more)
    asked = json.dumps(lab.fake.requests(word)[0].body)
    assert asked.count(DATA) == 3
    detail = await client.detail(stream.session_id)
    assert detail["messages"][0] == stream.frames[0].data["message"]
    sources = [
        block["source"]
        for block in detail["messages"][0]["contentBlocks"]
        if block["type"] == "image"
    ]
    assert [s["mediaType"] for s in sources] == ["image/png", "image/jpeg", "image/gif"]
    for source in sources:
        address = f"/sessions/{stream.session_id}/attachments/{source['attachmentId']}"
        reply = await client.ask("GET", address)
        assert (reply.status, reply.raw) == (200, RAW)
        assert reply.headers["Content-Type"] == source["mediaType"]
        foreign = await client.ask("GET", f"{address}?scope_id=other")
        assert foreign.status == 404
    assert DATA not in json.dumps(detail)
    await client.of(agent).talk("And again?", stream.session_id)
    assert json.dumps(lab.fake.requests(word)[-1].body).count(DATA) == 3


@requirement("http.images")
@pytest.mark.parametrize("agent", ["plain", "chat", "responses"])
async def test_addresses_of_pictures_are_passed_on(client: Client, lab: Lab, agent: str) -> None:
    word = f"far-{agent}"
    message = [
        {"type": "text", "text": plan({"text": "A cat."}, say=word)},
        part(type="url", url=FAR),
    ]
    stream = await client.of(agent).talk(message)
    assert stream.reason == "model_stop"
    assert FAR in json.dumps(lab.fake.requests(word)[0].body)
    blocks = stream.frames[0].data["message"]["contentBlocks"]
    assert blocks[1]["source"]["url"] == FAR


@requirement("http.images")
async def test_a_picture_alone_is_a_message(client: Client) -> None:
    answer = await client.say([part(type="base64", mediaType="image/png", data=DATA)])
    assert answer["reason"] == "model_stop"


@requirement("http.images", "runs.busy-enqueue")
@pytest.mark.parametrize("mode", ["enqueue", "steer", "interrupt"])
async def test_pictures_of_messages_that_wait_reach_the_model(
    client: Client, lab: Lab, gates: Gates, mode: str
) -> None:
    word = f"waiting-picture-{mode}"
    message = plan({"text": "Busy. ", "tools": [call("gate", port=gates.port)]}, {"text": "Done."})
    async with client.stream(message) as stream:
        gate = await gates.next()
        await stream.event("tool_call_start")
        images = [{"mimeType": "image/png", "data": DATA}]
        more = {"onBusy": mode, "images": images}
        async with client.stream(word, stream.session_id, **more) as later:
            if mode == "enqueue":
                await later.event("init")
            gate.open()
            await later.to_end()
        await stream.to_end()
    assert any(DATA in json.dumps(asked.body) for asked in lab.fake.requests(word))
