"""People as the installation's administrators find them."""

from __future__ import annotations

from sqlalchemy import Connection

from keelbill.core.ids import new_id
from keelbill.db.base import Database
from keelbill.identity import people, repository
from keelbill.identity.addresses import sign_in_form


def add(connection: Connection, email: str, name: str = "", *teams: str) -> tuple[str, str]:
    """Add a person with an own organisation and teams; return both ids."""
    user_id, org_id = new_id(), new_id()
    repository.add_person(connection, user_id, 1, email=sign_in_form(email), email_shown=email, name=name)
    repository.add_org(connection, org_id, name, "personal", 1)
    repository.add_member(connection, org_id, user_id, "owner", 1)
    for team in teams:
        team_id = new_id()
        repository.add_org(connection, team_id, team, "team", 1)
        repository.add_member(connection, team_id, user_id, "member", 1)
    return user_id, org_id


def emails(database: Database, text: str = "", **more: object) -> list[str]:
    """Return the addresses of the people that are found."""
    found = database.read_now(lambda c: people.search(c, text, **more))  # type: ignore[arg-type]
    return [account.email for account in found]


def test_nobody(database: Database) -> None:
    assert emails(database) == []


def test_people_are_found_by_what_is_known_of_them(database: Database) -> None:
    user_id, org_id = database.write_now(lambda c: add(c, "Ada@Example.org", "Ada L.", "Engines"))
    database.write_now(lambda c: add(c, "bob_50%@example.com", "Bob"))
    for text in ("ada", "ADA@EX", "l.", user_id, org_id):
        assert emails(database, text) == ["Ada@Example.org"], text
    assert emails(database, "_50%") == ["bob_50%@example.com"]
    assert emails(database, "%") == ["bob_50%@example.com"]
    assert emails(database, "example") == ["bob_50%@example.com", "Ada@Example.org"]
    assert emails(database, "zoe") == []


def test_what_is_shown_of_a_person(database: Database) -> None:
    user_id, org_id = database.write_now(lambda c: add(c, "ada@example.org", "Ada", "Engines", "Notes"))
    (found,) = database.read_now(people.search)
    assert found == people.Account(user_id, "ada@example.org", "Ada", org_id, 2, False, False, 0, 1)


def test_page_by_page(database: Database) -> None:
    ids = [database.write_now(lambda c, n=n: add(c, f"p{n}@example.org"))[0] for n in range(3)]  # type: ignore[misc]
    assert emails(database, limit=2) == ["p2@example.org", "p1@example.org"]
    assert emails(database, before_id=ids[1]) == ["p0@example.org"]
