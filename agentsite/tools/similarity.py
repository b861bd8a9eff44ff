"""Documents that are near to a text: embed the text, then ask the store; for tools and REST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentsite.engine.ports import ModelName
from agentsite.manifest.models import ModelConfig
from agentsite.providers.base import ProviderError
from agentsite.providers.embedding import Embedded, embed
from agentsite.rows.units import unit
from agentsite.tools.base import Pay
from stores_app.errors import BadQuery, Unavailable
from stores_app.places import Place
from stores_app.reading import document_to_api
from stores_app.vectors import MAX_NEAR, MAX_TEXT, count_pending, list_near

ALONE = ("search", "sort", "cursor", "offset")
"""What has no meaning beside an order by similarity."""
DEFAULT_NEAR = 10


async def find_similar(
    place: Place, model: ModelConfig | None, question: Mapping[str, Any], pay: Pay, *, trace: bool
) -> dict[str, Any]:
    """The nearest documents to `question["similar"]`. Raises `BadQuery` or `Unavailable`."""
    text = str(question["similar"]).strip()
    wrong = [name for name in ALONE if question.get(name)]
    if wrong:
        raise BadQuery(f'"similar" and "{wrong[0]}" exclude each other')
    if not place.spec.embed or model is None:
        raise BadQuery(f'Store "{place.name}" has no vectors: declare "embed" to have them')
    if not text or len(text) > MAX_TEXT or "\x00" in text:
        raise BadQuery(f'"similar" needs a text of at most {MAX_TEXT:,} characters')

    async def make(_most: int | None) -> Embedded:
        return await embed(model, [text])

    try:
        [vector] = await pay("embedding", ModelName(model.provider, model.model), text, make)
    except ProviderError as error:
        raise Unavailable(f"The text could not be compared just now: {error}") from error
    limit = min(int(question.get("limit") or DEFAULT_NEAR), MAX_NEAR)
    near = await unit(list_near, place, vector, model.label, question.get("filter"), limit)
    documents = []
    for each in near:
        shown = document_to_api(place, each.document, trace=trace)
        shown["meta"]["similarity"] = each.similarity
        documents.append(shown)
    pending = await unit(count_pending, place)
    return {"documents": documents, "pending": pending}
