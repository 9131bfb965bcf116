"""What the drills hold rows against: it finds a value that no change tells of, wherever in a table it stands."""

import pytest

from drills import fold
from tests.support.world import World, connect


@pytest.mark.parametrize("most_at_once", [1, 7, 5000])
async def test_a_value_that_no_change_tells_of_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch, most_at_once: int
) -> None:
    monkeypatch.setattr(fold, "_MOST_AT_ONCE", most_at_once)
    superuser = await connect(world.superuser)
    assert await fold.untold(superuser) == {}

    for table in ("project", "user_account"):
        await superuser.execute(f"alter table {table} disable trigger all")
    changed = await superuser.execute(
        "update project set name = 'Nobody said so' where id in"
        " (select distinct on (organization_id) id from project order by organization_id, id desc)"
    )
    await superuser.execute(
        "update user_account set password_is_long = not password_is_long"
        " where id = (select id from user_account order by id desc limit 1)"
    )
    found = await fold.untold(superuser)
    await superuser.close()

    assert changed != "UPDATE 0"
    assert found == {"project": int(changed.split()[1]), "user_account": 1}
