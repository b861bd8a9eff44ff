"""Who may set automations off where callers are told apart."""

from __future__ import annotations

from tests.automations_app.made import make_automation
from tests.gatehouse import Gate
from tests.issuer import token
from tests.requirements import requirement


@requirement("automations.roles")
def test_only_the_role_admin_sets_automations_off(gate: Gate) -> None:
    make_automation(gate, "guarded", "Say well.", agent="free", partition="acme")
    user, admin = gate.key(), gate.key(role="admin")
    elsewhere = gate.key(role="admin", scopes=["other"])
    for verb in ("run", "stream", "start", "stop"):
        path = f"/automations/guarded/{verb}?agentId=free"
        assert gate.ask("POST", path, {}).status == 401
        answer = gate.ask("POST", path, {}, user)
        assert (answer.status, answer.code) == (403, "forbidden"), verb
    run = "/automations/guarded/run?agentId=free"
    answer = gate.ask("POST", f"{run}&scope_id=other", {}, elsewhere)
    assert (answer.status, answer.code) == (403, "scope_forbidden")
    foreign = gate.ask("POST", run, {}, gate.key(role="admin", agents=["strict"]))
    assert foreign.status == 403
    assert gate.ask("POST", run, {}, admin).json["output"] == "Well."
    shown = gate.ask("GET", "/automations?agentId=free", None, user).json["automations"]
    (mine,) = [each for each in shown if each["name"] == "guarded"]
    assert "prompt" not in mine and "lastRun" not in mine
    (whole,) = [
        each
        for each in gate.ask("GET", "/automations?scope_id=acme", None, admin).json["automations"]
        if each["name"] == "guarded"
    ]
    assert whole["prompt"] == "Say well." and whole["lastRunStatus"] == "success"


@requirement("automations.roles")
def test_a_token_sets_off_only_what_runs_in_its_scope(gate: Gate) -> None:
    make_automation(gate, "of-beta", "Say well.", agent="free", partition="beta")
    run = "/automations/of-beta/run?agentId=free"
    for claims, status in (
        ({"scope_id": "alpha"}, 403),
        ({"tenantId": "alpha"}, 403),
        ({"scope_id": "beta"}, 200),
        ({"tenantId": "beta"}, 200),
    ):
        bearer = token(role="admin", **claims)
        assert gate.ask("POST", run, {}, bearer).status == status, claims


@requirement("automations.roles")
def test_only_who_acts_for_its_scopes_pauses_an_automation_and_reads_its_prompt(
    gate: Gate,
) -> None:
    for name, partition in (("of-gamma", "gamma"), ("of-each", "each")):
        how = {"agent": "free", "partition": partition, "trigger": "cron"}
        make_automation(gate, name, "Say well.", schedule="0 0 1 1 *", **how)
    both, none = {"of-gamma", "of-each"}, set[str]()
    for bearer, theirs in (
        (token(tenantId="alpha", role="admin"), none),
        (gate.key(role="admin", scopes=["alpha"]), none),
        (token(tenantId="gamma", role="admin"), {"of-gamma"}),
        (token(scope_id="gamma", role="admin"), {"of-gamma"}),
        (gate.key(role="admin"), both),
    ):
        scope = "" if theirs else "&scope_id=alpha"
        listed = gate.ask("GET", f"/automations?agentId=free{scope}", None, bearer)
        told = {each["name"] for each in listed.json["automations"] if "prompt" in each}
        assert told & both == theirs
        for name in sorted(both):
            for verb in ("stop", "start"):
                answer = gate.ask(
                    "POST", f"/automations/{name}/{verb}?agentId=free{scope}", {}, bearer
                )
                assert answer.status == (200 if name in theirs else 403), (name, verb, answer.body)
