"""Every verb, role and room: who may do what."""

import pytest

from trio_chat.errors import Banned, Muted, NoSuchRoom, NotAllowed, NotInRoom, Refused
from trio_chat.roles import Access, Role, Verb, may, outranks

ANSWERS: dict[str, type[Refused] | None] = {
    "yes": None,
    "no": NotAllowed,
    "in?": NotInRoom,
    "muted": Muted,
    "banned": Banned,
    "what?": NoSuchRoom,
}

TABLE = """
PUBLIC          BANNED  OUTSIDER  MUTED  MEMBER  MODERATOR  OWNER  OPERATOR
see             banned  yes       yes    yes     yes        yes    yes
join            banned  yes       yes    yes     yes        yes    yes
history         banned  yes       yes    yes     yes        yes    yes
search          banned  yes       yes    yes     yes        yes    yes
who             banned  yes       yes    yes     yes        yes    yes
say             banned  in?       muted  yes     yes        yes    yes
edit            banned  in?       muted  yes     yes        yes    yes
delete          banned  in?       yes    yes     yes        yes    yes
react           banned  in?       muted  yes     yes        yes    yes
topic           banned  in?       muted  yes     yes        yes    yes
invite          banned  in?       muted  yes     yes        yes    yes
remove          banned  no        no     no      yes        yes    yes
kick            banned  no        no     no      yes        yes    yes
ban             banned  no        no     no      yes        yes    yes
unban           banned  no        no     no      yes        yes    yes
mute            banned  no        no     no      yes        yes    yes
unmute          banned  no        no     no      yes        yes    yes
make_moderator  banned  no        no     no      no         yes    yes
make_owner      banned  no        no     no      no         yes    yes
demote          banned  no        no     no      no         yes    yes
set_access      banned  no        no     no      no         yes    yes

INVITATION      BANNED  OUTSIDER  MUTED  MEMBER  MODERATOR  OWNER  OPERATOR
see             what?   what?     yes    yes     yes        yes    yes
join            what?   what?     yes    yes     yes        yes    yes
history         what?   what?     yes    yes     yes        yes    yes
search          what?   what?     yes    yes     yes        yes    yes
who             what?   what?     yes    yes     yes        yes    yes
say             what?   what?     muted  yes     yes        yes    yes
edit            what?   what?     muted  yes     yes        yes    yes
delete          what?   what?     yes    yes     yes        yes    yes
react           what?   what?     muted  yes     yes        yes    yes
topic           what?   what?     muted  yes     yes        yes    yes
invite          what?   what?     no     no      yes        yes    yes
remove          what?   what?     no     no      yes        yes    yes
kick            what?   what?     no     no      yes        yes    yes
ban             what?   what?     no     no      yes        yes    yes
unban           what?   what?     no     no      yes        yes    yes
mute            what?   what?     no     no      yes        yes    yes
unmute          what?   what?     no     no      yes        yes    yes
make_moderator  what?   what?     no     no      no         yes    yes
make_owner      what?   what?     no     no      no         yes    yes
demote          what?   what?     no     no      no         yes    yes
set_access      what?   what?     no     no      no         yes    yes

KEY             BANNED  OUTSIDER  MUTED  MEMBER  MODERATOR  OWNER  OPERATOR
see             what?   what?     yes    yes     yes        yes    yes
join            what?   what?     yes    yes     yes        yes    yes
history         what?   what?     yes    yes     yes        yes    yes
search          what?   what?     yes    yes     yes        yes    yes
who             what?   what?     yes    yes     yes        yes    yes
say             what?   what?     muted  yes     yes        yes    yes
edit            what?   what?     muted  yes     yes        yes    yes
delete          what?   what?     yes    yes     yes        yes    yes
react           what?   what?     muted  yes     yes        yes    yes
topic           what?   what?     muted  yes     yes        yes    yes
invite          what?   what?     muted  yes     yes        yes    yes
remove          what?   what?     no     no      yes        yes    yes
kick            what?   what?     no     no      yes        yes    yes
ban             what?   what?     no     no      yes        yes    yes
unban           what?   what?     no     no      yes        yes    yes
mute            what?   what?     no     no      yes        yes    yes
unmute          what?   what?     no     no      yes        yes    yes
make_moderator  what?   what?     no     no      no         yes    yes
make_owner      what?   what?     no     no      no         yes    yes
demote          what?   what?     no     no      no         yes    yes
set_access      what?   what?     no     no      no         yes    yes

PRIVATE         BANNED  OUTSIDER  MUTED  MEMBER  MODERATOR  OWNER  OPERATOR
see             what?   what?     what?  yes     what?      what?  what?
join            what?   what?     what?  yes     what?      what?  what?
history         what?   what?     what?  yes     what?      what?  what?
search          what?   what?     what?  yes     what?      what?  what?
who             what?   what?     what?  yes     what?      what?  what?
say             what?   what?     what?  yes     what?      what?  what?
edit            what?   what?     what?  yes     what?      what?  what?
delete          what?   what?     what?  yes     what?      what?  what?
react           what?   what?     what?  yes     what?      what?  what?
topic           what?   what?     what?  yes     what?      what?  what?
invite          what?   what?     what?  no      what?      what?  what?
remove          what?   what?     what?  no      what?      what?  what?
kick            what?   what?     what?  no      what?      what?  what?
ban             what?   what?     what?  no      what?      what?  what?
unban           what?   what?     what?  no      what?      what?  what?
mute            what?   what?     what?  no      what?      what?  what?
unmute          what?   what?     what?  no      what?      what?  what?
make_moderator  what?   what?     what?  no      what?      what?  what?
make_owner      what?   what?     what?  no      what?      what?  what?
demote          what?   what?     what?  no      what?      what?  what?
set_access      what?   what?     what?  no      what?      what?  what?
"""

Cell = tuple[Verb, Role, Access]


def cells() -> dict[Cell, type[Refused] | None]:
    found: dict[Cell, type[Refused] | None] = {}
    for block in TABLE.strip().split("\n\n"):
        (access, *roles), *rows = (line.split() for line in block.splitlines())
        for verb, *answers in rows:
            for role, answer in zip(roles, answers, strict=True):
                found[Verb(verb), Role[role], Access[access]] = ANSWERS[answer]
    return found


CELLS = cells()


@pytest.mark.parametrize("access", Access, ids=lambda access: access.name)
@pytest.mark.parametrize("verb", Verb, ids=lambda verb: verb.value)
def test_each_role_may_what_the_table_says(verb: Verb, access: Access) -> None:
    said = {role: may(verb, role, access) for role in Role}
    assert said == {role: CELLS[verb, role, access] for role in Role}


def test_the_table_is_whole() -> None:
    assert len(CELLS) == len(Verb) * len(Role) * len(Access)


def test_who_does_not_see_a_room_gets_one_answer_whatever_it_asks() -> None:
    for (verb, role, access), answer in CELLS.items():
        assert verb is not Verb.SEE or answer in (None, Banned, NoSuchRoom)
        if CELLS[Verb.SEE, role, access] is not None:
            assert answer is CELLS[Verb.SEE, role, access]


def test_who_is_more_may_more_but_in_a_private_room() -> None:
    for (verb, role, access), answer in CELLS.items():
        if answer is None and access is not Access.PRIVATE:
            assert all(CELLS[verb, more, access] is None for more in Role if more > role)


def test_one_can_do_something_only_to_those_who_are_less() -> None:
    assert outranks(Role.MODERATOR, Role.MEMBER)
    assert outranks(Role.OPERATOR, Role.OWNER)
    assert not outranks(Role.MODERATOR, Role.MODERATOR)
    assert not outranks(Role.MODERATOR, Role.OWNER)
    assert not outranks(Role.OWNER, Role.OWNER)
