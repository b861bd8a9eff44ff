"""Nobody sees, changes or can tell apart what is another scope's: by enumeration."""

from __future__ import annotations

from tests.isolation.probes import Stranger, probe_counts, probe_keys, probe_refusals, probe_routes
from tests.isolation.recipes import find_gaps, make_recipes
from tests.isolation.streams import probe_metrics, probe_streams
from tests.isolation.tenants import probe_tenant
from tests.isolation.tools import probe_tools
from tests.isolation.world import World
from tests.issuer import AUDIENCE, ISSUER, SECRET
from tests.requirements import requirement
from tests.servers import Server


@requirement("scope.enumerated")
def test_every_route_has_a_recipe() -> None:
    assert find_gaps() == []


@requirement("scope.enumerated", "scope.foreign-ids")
def test_no_route_tells_foreign_ids_from_unknown_ones(world: World, server: Server) -> None:
    leaks = list(probe_routes(world, server))
    assert not leaks, "\n".join(leaks)


@requirement("scope.enumerated")
def test_no_route_answers_without_a_scope_or_to_two(world: World, server: Server) -> None:
    leaks = list(probe_refusals(world, server))
    assert not leaks, "\n".join(leaks)


@requirement("scope.enumerated")
def test_an_idempotency_key_is_its_scopes_own(world: World, server: Server) -> None:
    leaks = list(probe_keys(world, server))
    assert not leaks, "\n".join(leaks)


@requirement("scope.enumerated")
def test_no_count_includes_what_others_have(world: World, server: Server) -> None:
    leaks = list(probe_counts(world, server))
    assert not leaks, "\n".join(leaks)


@requirement("scope.enumerated", "scope.bus")
def test_the_bus_tells_strangers_nothing(world: World, server: Server) -> None:
    leaks = [*probe_streams(world, server), *probe_metrics(world, server)]
    assert not leaks, "\n".join(leaks)


@requirement("scope.enumerated")
def test_no_tool_reaches_another_scope(world: World, server: Server) -> None:
    leaks = list(probe_tools(world, server))
    assert not leaks, "\n".join(leaks)


@requirement("scope.enumerated", "scope.jwt")
def test_a_tenants_token_reaches_its_own_scopes_alone(world: World, server: Server) -> None:
    signed = {"AGENT_JWT_ISSUER": ISSUER, "AGENT_JWT_AUDIENCE": AUDIENCE}
    with world.serve(AGENT_AUTH="jwt", AGENT_JWT_SECRET=SECRET, **signed) as guarded:
        leaks = list(probe_tenant(world, guarded))
    assert not leaks, "\n".join(leaks)


def test_the_probes_see_what_the_owner_sees(world: World, server: Server) -> None:
    """A probe that complains of nobody proves nothing: of the owner each must complain."""
    owner = Stranger(world, server, world.owner)
    endless = ("/events",)
    asked = [r for r in make_recipes() if r.method == "GET" and not r.route.endswith(endless)]
    served = {r.route for r in asked if owner.ask(r, owner.unknown)[0].status != 405}
    seen = {r.route for r in asked if any(owner.compare(r))}
    seen |= {"api/stores"} if any(probe_counts(world, server, world.owner)) else set()
    assert served == seen
    assert len(seen) >= 8
