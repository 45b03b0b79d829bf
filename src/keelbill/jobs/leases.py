"""The clock of leases: never the time of day of this machine, which may jump. Knows no jobs.

PostgreSQL is shared by several server processes, so there leases go by its clock. SQLite has one server process, so
there they go by its monotonic clock; leases of a process before it mean nothing and are void at its start.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import Connection

from keelbill.core.clock import Clock
from keelbill.core.ids import new_id
from keelbill.jobs import repository

SEEN_EVERY_S = 10.0
DEAD_AFTER_MS = 45_000


@dataclass
class Leases:
    """What this server process knows about who is alive.

    Attributes:
        clock: For SQLite.
        process_id: Of this server process; fresh at every start.
        servers: How many server processes were alive when this one last said that it is, itself among them.
    """

    clock: Clock
    process_id: str = field(default_factory=new_id)
    servers: int = 1

    @property
    def has_company(self) -> bool:
        """Whether another server process is alive."""
        return self.servers > 1

    def count(self) -> int:
        """Return how many server processes are alive."""
        return self.servers

    def now_ms(self, connection: Connection) -> int:
        """Return milliseconds by the clock of leases."""
        if connection.dialect.name == "postgresql":
            return repository.database_ms(connection)
        return round(self.clock.monotonic_s() * 1000)

    def until_ms(self, connection: Connection, lease_s: float) -> int:
        """Return when a lease runs out that begins now."""
        return self.now_ms(connection) + round(lease_s * 1000)

    def begin(self, connection: Connection) -> None:
        """Say at the start that this process lives, and on SQLite that no other does."""
        if connection.dialect.name != "postgresql":
            repository.forget_processes(connection)
        self.seen(connection)

    def seen(self, connection: Connection) -> None:
        """Say that this process lives."""
        repository.seen(connection, self.process_id, self.now_ms(connection))
        self.servers = len(self.living(connection))

    def living(self, connection: Connection) -> set[str]:
        """Return the server processes that live, this one among them."""
        if connection.dialect.name != "postgresql":
            return {self.process_id}
        return repository.living(connection, self.now_ms(connection) - DEAD_AFTER_MS) | {self.process_id}
