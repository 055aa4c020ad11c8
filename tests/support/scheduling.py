"""Files to worker processes, and on to others where a worker has died."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController


class FileScheduling(LoadFileScheduling):
    """``--dist loadfile`` that goes on after a worker's death.

    pytest-xdist 3.8 stands still then (its issues 784, 1323, 1327, 1378): finished files come back
    as units of no test, the test that killed the worker kills the next one, and a replacement
    with a single test waits for a second one.
    """

    def remove_node(self, node: WorkerController) -> str | None:
        """Give back the tests that nobody has begun; the one that was running has its verdict."""
        workload = self.assigned_work.pop(node)
        left = [[each for each, done in unit.items() if not done] for unit in workload.values()]
        begun = next((tests[0] for tests in left if tests), None)
        for scope, tests in zip(workload, left, strict=True):
            if rest := {each: False for each in tests if each != begun}:
                self.workqueue[scope] = rest
                self.workqueue.move_to_end(scope, last=False)
        for other in self.assigned_work:
            self._reschedule(other)
        return begun

    def _reschedule(self, node: WorkerController) -> None:
        """Keep two tests ahead, as a worker waits with its last one for the next; then the end."""
        if node.shutting_down or node not in self.registered_collections:
            return
        while self.workqueue and self._pending_of(self.assigned_work[node]) <= 2:
            self._assign_work_unit(node)
        if not self.workqueue:
            node.shutdown()
