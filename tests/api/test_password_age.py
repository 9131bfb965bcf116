"""A password is good for as long as its owner keeps it."""

from tests.support.world import World, connect

MAKE_OLD = """
update user_account set password_changed_at = now() - interval '20 years', created_at = now() - interval '20 years'
"""


async def test_a_password_that_nobody_changed_for_twenty_years_signs_in(world: World) -> None:
    connection = await connect(world.superuser)
    # Behind the triggers' back, as no way of ours leads there.
    await connection.execute("alter table user_account disable trigger user")
    await connection.execute(MAKE_OLD)
    await connection.close()

    answer = (await world.sign_in("viewer")).data["signIn"]

    assert answer["errors"] == []
    assert answer["accessToken"] is not None
