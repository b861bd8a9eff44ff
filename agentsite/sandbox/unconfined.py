"""No confinement at all, for whoever says `unsafe-local`: limits per process, and no more."""

from __future__ import annotations

from agentsite.sandbox.base import Job, Launch, SandboxUnavailable
from agentsite.sandbox.bwrap import PATH, limit
from agentsite.sandbox.landlock import make_folder, monitor


class Unconfined:
    """Runs programs as the server's own user, with all that it may do."""

    name = "unsafe-local"
    warning = (
        "AGENT_SANDBOX=unsafe-local: programs that a model asks for run unconfined, as the "
        "server's own user, with its files and its network."
    )

    def prepare(self, job: Job) -> Launch:
        if job.template is not None:
            raise SandboxUnavailable("a template needs bubblewrap")
        folder = make_folder(job, None)
        workspace = str(folder / "workspace")
        known = {"PATH": PATH, "HOME": workspace, "TMPDIR": workspace, "LANG": "C.UTF-8"}
        told = {
            "confined": False,
            "uid": None,
            "command": [part.replace("/tool/", f"{folder}/tool/") for part in job.command],
            "environment": {**known, **job.environment},
            "folder": workspace,
        }
        fds: list[int] = []
        command = [*limit(job.bounds), *monitor(told, fds)]
        return Launch(command, fds, folder, gentle=True)
