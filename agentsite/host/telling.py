"""Words beside what a run does: titles and saved credentials for its log, alerts for operators.

Law: behind a run's last event nothing follows. What comes while it is being written is told
beside the runs, once the run is done or parked.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from agentsite.engine.events import CredentialSaved, TitleChanged
from agentsite.host.patience import patient_unit
from agentsite.operations.alerts import raise_once, repeating_run
from agentsite.rows.tenancy import acting_for_all
from sessions_app import leases
from sessions_app.actions import RunRef

if TYPE_CHECKING:
    from agentsite.host.conversation import Conversation
    from agentsite.host.driver import Driver


def tell_title(driver: Driver, signal_id: int, title: str) -> None:
    """Write a title and tell clients; the signal is forgotten with the next step, which
    covers it: what an attempt has logged since its last step dies with it."""
    if signal_id in driver.titles or driver.log.closing:
        return
    driver.titles.append(signal_id)
    write = partial(leases.set_title, driver.ref.session_id, title)
    if driver.step:  # the numbers behind the last event are foreseen for it
        driver.step.add(TitleChanged(title))
        driver.step.write(write)
    else:
        driver.journal.enqueue(driver.log, [TitleChanged(title)], write)


def tell_credential(driver: Driver, connection: str) -> bool:
    """Tell clients of a credential; False while the log is closing."""
    if driver.log.closing:
        return False
    event = CredentialSaved(connection)
    if driver.step:  # as above
        driver.step.add(event)
    else:
        driver.announce([event])
    return True


async def tell_of_repeats(ref: RunRef, conversation: Conversation) -> None:
    """Tell operators that a run goes round in circles and that nothing stops it."""
    alert = repeating_run(ref.run_id, conversation.agent.id, ref.scope_id)
    with acting_for_all("operators are told of it"):
        await patient_unit(raise_once, alert)
