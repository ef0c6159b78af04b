"""A rotation against the local Secret Manager, interrupted everywhere, and disturbed by others."""

import itertools

import pytest
from pydantic import HttpUrl

from pgp_config import (
    ChangedMeanwhile,
    DynamicSecret,
    GoogleSecretManager,
    KeyRing,
    Memory,
    SecretContainer,
    SecretForbidden,
    SecretUnavailable,
    StaticSecret,
)
from pgp_config.providers.graph import secrets_of
from pgp_config.rotation import Rotation, RotationStopped
from pgp_config.rotation.mark import ANNOTATION
from pgp_config.rotation.steps import POLL, Options
from pgp_config.rotation.values import Undeclared, Value
from pgp_config.sources.administration import administration_of
from pgp_config.uptake.verdict import Verdict

CANARY = "canary-7f3a"
OLD, NEW = f"{CANARY}-old", f"{CANARY}-new"


class Interrupting:
    """Passes calls on; interrupts before or after the n-th of those that change something."""

    def __init__(self, administration, at=None, *, after=False):
        self._administration = administration
        self.at, self.after = at, after
        self.calls = 0

    def __getattr__(self, name):
        call = getattr(self._administration, name)
        if name in ("fetch", "describe", "versions", "lacking"):
            return call

        def counted(*arguments):
            number, self.calls = self.calls, self.calls + 1
            if number == self.at and not self.after:
                raise KeyboardInterrupt
            result = call(*arguments)
            if number == self.at:
                raise KeyboardInterrupt
            return result

        return counted


@pytest.fixture
def administration(secret_manager):
    source = GoogleSecretManager("local", endpoint=secret_manager.endpoint)
    secret_manager.add("KEY", OLD)
    yield administration_of(source)
    source.close()


@pytest.fixture
def processes(store, entry):
    """Processes that have taken up whatever is served."""

    class Processes:
        def __init__(self):
            self.told = []

        def have(self, version, instance="host-1", **facts):
            store.report([entry(instance, version=version, **facts)])

    return Processes()


@pytest.fixture
def rotation(administration, store, clock, processes):
    """A rotation whose waiting takes no time; processes follow at once, unless told otherwise."""

    def make(name="KEY", administration=administration, follow=True, **options):
        told = []

        def sleep(seconds):
            assert seconds == POLL
            clock.advance(seconds)
            served = max(v.number for v in administration.versions(name) if v.state == "enabled")
            if follow:
                processes.have(served)

        made = Rotation(
            administration,
            name,
            store=options.pop("store", store),
            declarations=options.pop("declarations", ()),
            options=Options(**{"settle": 2.0, "timeout": 20.0, **options}),
            tell=told.append,
            clock=clock,
            sleep=sleep,
        )
        made.told = told
        return made

    return make


def states(administration, name="KEY"):
    return {each.number: each.state for each in administration.versions(name)}


def payload(administration, version="latest"):
    return administration.fetch("KEY", version).data.decode()


def test_a_rotation_adds_waits_and_disables_the_old_one(rotation, administration, processes):
    processes.have(1)
    made = rotation()
    outcome = made.rotate(Value(NEW.encode()))
    assert (outcome.action, outcome.state) == ("rotate", "done")
    assert (outcome.old, outcome.new, outcome.old_state) == (1, 2, "disabled")
    assert states(administration) == {1: "disabled", 2: "enabled"}
    assert payload(administration) == NEW
    assert [step for step in made.told if isinstance(step, str)] == [
        "Added version 2.",
        "Version 1 is unread.",
        "Disabled version 1.",
    ]
    assert [v.state for v in made.told if isinstance(v, Verdict)] == ["waiting", "safe"]
    assert CANARY not in f"{made.told}{outcome}{administration.describe('KEY')}"


def test_it_takes_a_handful_of_calls(rotation, processes, secret_manager):
    processes.have(1)
    rotation().rotate(Value(NEW.encode()))
    by_method = {}
    for call in secret_manager.calls.log():
        by_method[call.method] = by_method.get(call.method, 0) + 1
    del by_method["ListSecretVersions"]  # the simulated processes list too
    assert by_method == {
        "GetSecret": 6,
        "AccessSecretVersion": 1,
        "TestIamPermissions": 1,
        "UpdateSecret": 3,
        "AddSecretVersion": 1,
        "DisableSecretVersion": 1,
    }


@pytest.mark.parametrize(("at", "after"), list(itertools.product(range(5), [False, True])))
@pytest.mark.parametrize("given", [True, False])
def test_interrupted_at_any_step_it_goes_on_and_adds_nothing_twice(
    rotation, administration, processes, at, after, given
):
    processes.have(1)
    interrupting = Interrupting(administration, at, after=after)
    with pytest.raises(KeyboardInterrupt):
        rotation(administration=interrupting).rotate(Value(NEW.encode()), given=given)
    second = Value(NEW.encode() if given else f"{CANARY}-another".encode())
    if (at, after, given) != (4, True, False):  # a finished one is not gone on with
        outcome = rotation().rotate(second, given=given)
        assert (outcome.state, outcome.old, outcome.new) == ("done", 1, 2)
    assert states(administration) == {1: "disabled", 2: "enabled"}
    begun_anew = not given and (at, after) in ((0, False), (0, True), (1, False))
    assert payload(administration) == (f"{CANARY}-another" if begun_anew else NEW)


def test_there_are_five_steps_to_interrupt(rotation, administration, processes):
    processes.have(1)
    counting = Interrupting(administration)
    rotation(administration=counting).rotate(Value(NEW.encode()))
    assert counting.calls == 5  # mark, add, mark, disable, mark


def test_interrupted_while_it_waits_it_goes_on_without_the_value(
    rotation, administration, processes
):
    processes.have(1)
    made = rotation()
    made._sleep = interrupt
    with pytest.raises(KeyboardInterrupt):
        made.rotate(Value(NEW.encode()))
    outcome = rotation().rotate(None)
    assert (outcome.state, states(administration)) == ("done", {1: "disabled", 2: "enabled"})


def interrupt(_):
    raise KeyboardInterrupt


def test_continuing_what_was_not_begun_is_refused(rotation):
    with pytest.raises(RotationStopped, match="KEY: no rotation is under way"):
        rotation().rotate(None)


def test_continuing_what_added_nothing_needs_the_value(rotation, administration):
    with pytest.raises(KeyboardInterrupt):
        rotation(administration=Interrupting(administration, 0, after=True)).rotate(
            Value(NEW.encode())
        )
    with pytest.raises(RotationStopped, match="Give the value again"):
        rotation().rotate(None)


@pytest.mark.parametrize("at", [1, 2])  # added and not noted; added and noted
def test_another_value_than_that_of_the_rotation_under_way_is_refused(
    rotation, administration, processes, at
):
    processes.have(1)
    interrupting = Interrupting(administration, at, after=True)
    with pytest.raises(KeyboardInterrupt):
        rotation(administration=interrupting).rotate(Value(NEW.encode()))
    with pytest.raises(RotationStopped, match="the value given is another one"):
        rotation().rotate(Value(f"{CANARY}-other".encode()))
    assert states(administration) == {1: "enabled", 2: "enabled"}


def test_done_again_it_does_nothing(rotation, administration, processes):
    processes.have(1)
    rotation().rotate(Value(NEW.encode()))
    made = rotation()
    outcome = made.rotate(Value(f"{NEW}\n".encode()))
    assert (outcome.state, outcome.new, len(states(administration))) == ("done", 2, 2)
    assert made.told == ["It was rotated already: version 2 has this value."]


def test_the_value_that_is_served_is_refused(rotation, administration):
    with pytest.raises(RotationStopped, match="that of version 1, which is served already"):
        rotation().rotate(Value(OLD.encode()))
    assert states(administration) == {1: "enabled"}


def test_the_old_one_can_be_kept_and_disabled_later(rotation, administration, processes):
    processes.have(1)
    outcome = rotation(keep_old=True).rotate(Value(NEW.encode()))
    assert (outcome.state, outcome.old_state) == ("done", "enabled")
    assert rotation(keep_old=True).rotate(Value(NEW.encode())).old_state == "enabled"
    assert rotation().rotate(Value(NEW.encode())).old_state == "disabled"


def test_the_old_version_of_a_key_ring_stays_until_its_overlap_is_ended(
    rotation, administration, processes
):
    processes.have(1)
    ring = {"declarations": [KeyRing("KEY")]}
    assert (
        rotation(**ring).plan().steps[-1] == "leave version 1 enabled; --disable-old disables it"
    )
    made = rotation(**ring)
    outcome = made.rotate(Value(NEW.encode()))
    assert (outcome.state, outcome.old_state) == ("done", "enabled")
    assert any("may still verify; --disable-old ends that" in str(told) for told in made.told)
    ended = rotation(**ring, keep_old=False).rotate(Value(NEW.encode()))
    assert (ended.state, ended.old_state) == ("done", "disabled")


def test_a_name_that_looks_static_is_waited_for_where_processes_say_that_it_is_not(
    rotation, processes
):
    processes.have(1)
    static = [Undeclared("DB_PASSWORD")]
    assert rotation(declarations=static, timeout=0).rotate(Value(NEW.encode())).state == "waiting"
    assert rotation(declarations=static).rotate(Value(NEW.encode())).state == "done"


def test_a_version_that_somebody_has_disabled_is_nothing_to_go_back_to(rotation, secret_manager):
    secret_manager.add("KEY", "bad")
    secret_manager.add("KEY", "c")
    secret_manager.disable("KEY", 2)
    assert "add the value of version 1 as version 4" in rotation().plan(rollback=True).steps
    secret_manager.disable("KEY", 1)
    with pytest.raises(RotationStopped, match="none below is enabled"):
        rotation().plan(rollback=True)


def test_the_first_version_of_a_secret_replaces_nothing(rotation, secret_manager, administration):
    secret_manager.create("FRESH")
    outcome = rotation("FRESH").rotate(Value(NEW.encode()))
    assert (outcome.state, outcome.old, outcome.new, outcome.verdict) == ("done", None, 1, None)


@pytest.mark.parametrize(
    ("facts", "state"),
    [
        ({"version": 1}, "waiting"),
        ({"version": 2, "in_use": (1, 2)}, "waiting"),
        ({"version": 1, "refused": (2,)}, "waiting"),
        ({"version": 1, "kind": "static"}, "restart"),
    ],
)
def test_it_never_disables_what_may_be_in_use(rotation, administration, processes, facts, state):
    processes.have(**facts)
    outcome = rotation(follow=False).rotate(Value(NEW.encode()))
    assert (outcome.state, outcome.old_state) == (state, "enabled")
    assert states(administration) == {1: "enabled", 2: "enabled"}


def test_it_waits_until_the_time_is_up(rotation, processes, clock):
    processes.have(1)
    began = clock()
    rotation(follow=False).rotate(Value(NEW.encode()))
    assert clock() - began == 20


def test_it_waits_for_nobody_where_a_process_refused_the_version_or_needs_a_restart(
    rotation, processes, clock
):
    processes.have(1, refused=(2,))
    began = clock()
    rotation(follow=False).rotate(Value(NEW.encode()))
    assert clock() == began
    processes.have(1, kind="static")
    rotation(follow=False).rotate(None)
    assert clock() == began


def test_it_waits_for_restarts_when_told_to(rotation, processes, clock):
    processes.have(1, kind="static")
    began = clock()
    outcome = rotation(follow=False, wait_for_restarts=True).rotate(Value(NEW.encode()))
    assert (outcome.state, clock() - began) == ("restart", 20)


def test_safe_is_not_believed_before_processes_that_start_have_reported(
    rotation, processes, clock
):
    processes.have(2)
    began = clock()
    made = rotation(timeout=0.0, settle=5.0)
    assert made.rotate(Value(NEW.encode())).state == "done"
    assert clock() - began == 5


def test_without_reports_it_is_unknown(rotation, administration, clock):
    outcome = rotation(follow=False).rotate(Value(NEW.encode()))
    assert (outcome.state, outcome.verdict.state) == ("unknown", "unknown")
    assert states(administration) == {1: "enabled", 2: "enabled"}


def test_without_a_store_it_is_unknown_at_once(rotation, administration, clock):
    began = clock()
    outcome = rotation(store=None, expected=("split2",)).rotate(Value(NEW.encode()))
    assert (outcome.state, outcome.verdict.missing) == ("unknown", ("split2",))
    assert clock() == began
    assert states(administration) == {1: "enabled", 2: "enabled"}


def test_that_the_store_cannot_be_read_is_said_once(rotation):
    class Failing:
        def read(self, secret):
            raise ConnectionError

    made = rotation(store=Failing(), follow=False)
    made.rotate(Value(NEW.encode()))
    assert made.told.count("The uptake store cannot be read (ConnectionError).") == 1


def test_a_store_that_cannot_be_read_makes_it_unknown(rotation, administration):
    class Failing:
        def read(self, secret):
            raise ConnectionError(f"redis://user:{CANARY}@host")

    made = rotation(store=Failing(), follow=False)
    assert made.rotate(Value(NEW.encode())).state == "unknown"
    assert "The uptake store cannot be read (ConnectionError)." in made.told
    assert CANARY not in str(made.told)


def test_an_expected_service_must_report(rotation, processes, store, entry):
    processes.have(1)
    assert rotation(expected=("batch",)).rotate(Value(NEW.encode())).state == "unknown"
    store.report([entry("b-1", service="batch", version=2)])
    assert rotation(expected=("batch",)).rotate(None).state == "done"


# -- which versions it replaces ----------------------------------------------------------------


REJECTED = f"{CANARY}-rejected"


@pytest.fixture
def rejected(administration, secret_manager, processes):
    """Version 1 is in use, and version 2 was rejected by whoever read it."""
    secret_manager.add("KEY", REJECTED)
    processes.have(1, refused=(2,))


def test_what_was_in_use_is_disabled_and_not_only_what_was_newest(
    rejected, rotation, administration
):
    made = rotation()
    assert made.plan().steps[2:] == (
        "wait until every process has version 3 and none holds versions 1 or 2",
        "disable versions 1 and 2 under their etags",
    )
    assert (made.plan().old, made.plan().others) == (1, (2,))
    outcome = made.rotate(Value(NEW.encode()))
    assert (outcome.state, outcome.old, outcome.others) == ("done", 1, ((2, "disabled"),))
    assert "Versions 1 and 2 are unread." in made.told
    assert states(administration) == {1: "disabled", 2: "disabled", 3: "enabled"}


@pytest.mark.parametrize("at", range(6))
@pytest.mark.parametrize("after", [False, True])
def test_interrupted_it_still_knows_what_was_in_use(rejected, rotation, administration, at, after):
    with pytest.raises(KeyboardInterrupt):
        rotation(administration=Interrupting(administration, at, after=after)).rotate(
            Value(NEW.encode())
        )
    if (at, after) != (5, True):
        assert rotation().rotate(Value(NEW.encode())).state == "done"
    assert states(administration) == {1: "disabled", 2: "disabled", 3: "enabled"}


def test_a_rollback_goes_back_to_what_was_in_use(rejected, rotation, administration, processes):
    rotation().rotate(Value(NEW.encode()))
    assert rotation().rollback().new == 4
    assert payload(administration) == OLD


def test_a_rollback_of_a_change_by_hand_goes_back_to_what_is_in_use(
    rejected, rotation, administration, secret_manager
):
    secret_manager.add("KEY", f"{CANARY}-rejected-too")
    assert "add the value of version 1 as version 4" in rotation().plan(rollback=True).steps
    rotation().rollback()
    assert payload(administration) == OLD


def test_what_a_process_holds_beside_the_newest_is_disabled_too(
    rotation, administration, processes, secret_manager
):
    secret_manager.add("KEY", REJECTED)
    secret_manager.add("KEY", f"{CANARY}-third")
    processes.have(3, in_use=(2, 3))
    made = rotation()
    outcome = made.rotate(Value(NEW.encode()))
    assert (outcome.old, outcome.others) == (3, ((2, "disabled"),))
    assert states(administration) == {1: "enabled", 2: "disabled", 3: "disabled", 4: "enabled"}
    assert made.told[-1] == (
        "Version 1 stays enabled: no process reported it in use. --continue --all-older disables it."
    )


def test_what_somebody_turns_out_to_hold_while_it_waits_is_disabled_too(
    rotation, administration, processes, secret_manager
):
    secret_manager.add("KEY", REJECTED)
    made = rotation(follow=False)
    waits = []

    def sleep(seconds):
        made._clock.advance(seconds)
        waits.append(seconds)
        processes.have(1) if len(waits) == 1 else processes.have(3)

    made._sleep = sleep
    outcome = made.rotate(Value(NEW.encode()))
    assert (outcome.state, outcome.old, outcome.others) == ("done", 2, ((1, "disabled"),))
    assert states(administration) == {1: "disabled", 2: "disabled", 3: "enabled"}


def test_where_nobody_reports_it_is_said_that_another_may_be_in_use(
    rotation, administration, secret_manager
):
    secret_manager.add("KEY", REJECTED)
    made = rotation(store=None)
    assert made.rotate(Value(NEW.encode())).state == "unknown"
    assert "Version 1 stays enabled: no process has said whether it uses it." in made.told
    assert set(states(administration).values()) == {"enabled"}


def test_every_older_version_is_disabled_when_that_is_asked_for(
    rotation, administration, processes, secret_manager
):
    secret_manager.add("KEY", REJECTED)
    secret_manager.add("KEY", f"{CANARY}-third")
    processes.have(3)
    made = rotation(all_older=True)
    assert made.plan().steps[-1] == "disable versions 1, 2 and 3 under their etags"
    outcome = made.rotate(Value(NEW.encode()))
    assert (outcome.old, outcome.others) == (3, ((1, "disabled"), (2, "disabled")))


def test_every_older_version_is_disabled_after_the_rotation_too(
    rotation, administration, processes, secret_manager
):
    secret_manager.add("KEY", REJECTED)
    processes.have(2)
    rotation().rotate(Value(NEW.encode()))
    with pytest.raises(RotationStopped, match="no rotation is under way"):
        rotation().rotate(None)
    assert states(administration) == {1: "enabled", 2: "disabled", 3: "enabled"}
    assert rotation(all_older=True).rotate(None).state == "done"
    assert states(administration) == {1: "disabled", 2: "disabled", 3: "enabled"}
    with pytest.raises(RotationStopped, match="no rotation is under way"):
        rotation(all_older=True).rotate(None)


def test_a_version_that_a_process_is_pinned_to_is_never_disabled(
    rotation, administration, processes, secret_manager
):
    secret_manager.add("KEY", REJECTED)
    processes.have(1, "pinned", kind="static")
    processes.have(2)
    outcome = rotation(all_older=True).rotate(Value(NEW.encode()))
    assert outcome.state == "restart"
    assert set(states(administration).values()) == {"enabled"}


def test_of_a_key_ring_all_of_them_stay_until_its_overlap_is_ended(
    rejected, rotation, administration
):
    ring = {"declarations": [KeyRing("KEY")]}
    made = rotation(**ring)
    assert made.plan().steps[-1] == ("leave versions 1 and 2 enabled; --disable-old disables them")
    made.rotate(Value(NEW.encode()))
    assert made.told[-1] == (
        "Versions 1 and 2 stay enabled. What was signed with them may still verify; --disable-old ends that."
    )
    assert set(states(administration).values()) == {"enabled"}
    assert rotation(**ring, keep_old=False).rotate(None).state == "done"
    assert states(administration) == {1: "disabled", 2: "disabled", 3: "enabled"}


# -- where no version is enabled ---------------------------------------------------------------


@pytest.fixture
def disabled(administration, secret_manager):
    """The only version was disabled; services go on with it."""
    secret_manager.disable("KEY", 1)


def test_where_no_version_is_enabled_the_uptake_is_waited_for_all_the_same(
    disabled, rotation, processes
):
    processes.have(1, failing=True)
    assert rotation().plan().steps[-1] == (
        "wait until every process has version 2 and none holds an older one"
    )
    made = rotation(follow=False)
    outcome = made.rotate(Value(NEW.encode()))
    assert (outcome.state, outcome.old, outcome.new) == ("waiting", None, 2)
    made = rotation()
    assert made.rotate(None).state == "done"
    assert made.told[-1] == "No process holds an older version."


def test_where_no_version_is_enabled_an_expected_service_must_report(
    disabled, rotation, secret_manager
):
    assert rotation(expected=("split2",)).rotate(Value(NEW.encode())).state == "done"
    secret_manager.create("FRESH")
    made = rotation("FRESH", expected=("split2",), follow=False)
    assert made.rotate(Value(NEW.encode())).state == "unknown"


def test_where_no_version_is_enabled_nothing_is_proved_without_a_store(disabled, rotation):
    assert rotation(store=None).rotate(Value(NEW.encode())).state == "unknown"


def test_a_process_that_waits_for_the_first_version_is_waited_for(
    rotation, secret_manager, store, entry
):
    secret_manager.create("FRESH")
    store.report([entry(secret="FRESH", version=None, in_use=(), failing=True)])
    outcome = rotation("FRESH", follow=False).rotate(Value(NEW.encode()))
    assert outcome.state == "waiting"


def test_after_it_there_is_a_way_back_to_a_version_that_was_enabled_since(
    disabled, rotation, secret_manager, administration
):
    rotation(store=None).rotate(Value(NEW.encode()))
    with pytest.raises(RotationStopped, match="Enable the one to go back to"):
        rotation().rollback()
    secret_manager.enable("KEY", 1)
    assert rotation().rollback().new == 3
    assert payload(administration) == OLD


# -- the value's type --------------------------------------------------------------------------


class Split2(SecretContainer):
    url = DynamicSecret("URL", HttpUrl)
    key = DynamicSecret("KEY")
    signing = StaticSecret("SIGNING_KEY")


def declared(name):
    return [each for each in secrets_of(Split2.providers.values()) if each.name == name]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (f"{CANARY} no url", "not added: it is not a valid"),
        ("", "not added: it is empty"),
        ("\n", "not added: it is empty"),
        (f"-----BEGIN PRIVATE KEY-----\n{CANARY}", "private-key material under a dynamic name"),
        (f"https://{CANARY}/" + "x" * 65536, "more than 65536 bytes"),
        (b"\xff" + CANARY.encode(), "is not UTF-8"),
    ],
)
def test_a_value_that_the_type_refuses_is_refused_before_anything_changes(
    rotation, secret_manager, value, said
):
    secret_manager.add("URL", "https://old.example")
    secret_manager.calls.reset()
    data = value if isinstance(value, bytes) else value.encode()
    with pytest.raises(RotationStopped) as caught:
        rotation("URL", declarations=declared("URL")).rotate(Value(data))
    error = caught.value
    assert said in str(error)
    assert "was not added" in str(error)
    assert CANARY not in str(error)
    assert error.__cause__ is None
    assert {call.method for call in secret_manager.calls.log()} <= {
        "GetSecret",
        "ListSecretVersions",
        "AccessSecretVersion",
    }


def test_every_declaration_must_accept_it(rotation):
    both = [Undeclared("KEY"), Undeclared("KEY", int)]
    with pytest.raises(RotationStopped, match="int"):
        rotation(declarations=both).rotate(Value(NEW.encode()))


def test_a_version_that_was_added_before_is_checked_too(rotation, administration):
    interrupting = Interrupting(administration, 1, after=True)
    with pytest.raises(KeyboardInterrupt):
        rotation(administration=interrupting).rotate(Value(NEW.encode()))
    with pytest.raises(RotationStopped, match="Run the command with --rollback") as caught:
        rotation(declarations=[Undeclared("KEY", int)]).rotate(None)
    assert CANARY not in str(caught.value)


# -- others ------------------------------------------------------------------------------------


def test_what_is_lacking_is_named_before_anything_changes(rotation, administration, monkeypatch):
    monkeypatch.setattr(administration, "lacking", lambda _: ["secretmanager.versions.add"])
    with pytest.raises(RotationStopped, match=r"lacks secretmanager\.versions\.add"):
        rotation().rotate(Value(NEW.encode()))
    assert administration.describe("KEY").annotations == {}


def test_a_refused_call_is_told_and_can_be_gone_on_with(
    rotation, administration, processes, secret_manager
):
    processes.have(1)
    secret_manager.inject("PERMISSION_DENIED", method="DisableSecretVersion")
    with pytest.raises(SecretForbidden, match="may not disable version 1"):
        rotation().rotate(Value(NEW.encode()))
    secret_manager.clear_faults()
    assert rotation().rotate(None).old_state == "disabled"


def test_an_addition_whose_answer_was_lost_is_not_repeated(
    rotation, administration, processes, monkeypatch
):
    processes.have(1)
    add = administration.add

    def lost(name, data):
        add(name, data)
        raise SecretUnavailable("the answer was lost")

    monkeypatch.setattr(administration, "add", lost)
    with pytest.raises(SecretUnavailable):
        rotation().rotate(Value(NEW.encode()))
    monkeypatch.undo()
    made = rotation()
    assert made.rotate(Value(NEW.encode())).new == 2
    assert made.told[0] == "Version 2 was added before: going on with it."
    assert states(administration) == {1: "disabled", 2: "enabled"}


def test_another_version_added_meanwhile_stops_it(rotation, administration, secret_manager):
    real = administration.add

    class Racing(Interrupting):
        def add(self, name, data):
            secret_manager.add(name, f"{CANARY}-theirs")
            return real(name, data)

    with pytest.raises(RotationStopped, match="the new value is version 3, and not 2"):
        rotation(administration=Racing(administration)).rotate(Value(NEW.encode()))
    with pytest.raises(RotationStopped, match="versions 2 to 3 were added"):
        rotation().rotate(Value(NEW.encode()))


@pytest.mark.parametrize("change", ["added", "disabled"])
def test_the_old_one_stays_where_the_new_one_is_not_what_services_get(
    rotation, administration, processes, secret_manager, change
):
    processes.have(1)
    made = rotation()

    def sleep(_):
        processes.have(2)
        made._clock.advance(5)
        if change == "added":
            secret_manager.add("KEY", f"{CANARY}-theirs")
        else:
            secret_manager.disable("KEY", 2)

    made._sleep = sleep
    with pytest.raises(RotationStopped, match="version 1 stays enabled"):
        made.rotate(Value(NEW.encode()))
    assert states(administration)[1] == "enabled"


def test_an_old_version_that_somebody_else_changed_stays_as_it_is(
    rotation, administration, processes, secret_manager
):
    processes.have(1)
    made = rotation()

    def sleep(_):
        processes.have(2)
        made._clock.advance(5)
        secret_manager.disable("KEY", 1)
        secret_manager.enable("KEY", 1)

    made._sleep = sleep
    with pytest.raises(ChangedMeanwhile, match="KEY: version 1 was changed by somebody else"):
        made.rotate(Value(NEW.encode()))
    assert states(administration)[1] == "enabled"


def test_a_change_in_the_last_moment_is_refused_by_the_etag(
    rotation, administration, processes, secret_manager
):
    processes.have(1)
    real = administration.disable

    class Racing(Interrupting):
        def disable(self, name, version):
            secret_manager.disable(name, version.number)
            secret_manager.enable(name, version.number)
            return real(name, version)

    with pytest.raises(ChangedMeanwhile, match="could not disable version 1 of it"):
        rotation(administration=Racing(administration)).rotate(Value(NEW.encode()))
    assert states(administration)[1] == "enabled"


def test_an_old_version_that_is_disabled_already_is_left_so(
    rotation, administration, processes, secret_manager
):
    processes.have(1)
    made = rotation()

    def sleep(_):
        processes.have(2)
        made._clock.advance(5)
        secret_manager.disable("KEY", 1)

    made._sleep = sleep
    assert made.rotate(Value(NEW.encode())).old_state == "disabled"
    assert "Version 1 is disabled already." in made.told


def test_two_who_begin_at_once_do_not_both_go_on(rotation, administration):
    real = administration.describe
    calls = []

    class Racing(Interrupting):
        def describe(self, name):
            calls.append(name)
            if len(calls) == 2:  # looked at, and not yet marked
                other = rotation()
                other._sleep = interrupt
                with pytest.raises(KeyboardInterrupt):
                    other.rotate(Value(f"{CANARY}-theirs".encode()))
            return real(name)

    with pytest.raises(ChangedMeanwhile, match="somebody else has begun or continued a rotation"):
        rotation(administration=Racing(administration)).rotate(Value(NEW.encode()))
    assert states(administration) == {1: "enabled", 2: "enabled"}


def test_other_annotations_stay(rotation, administration, processes):
    processes.have(1)
    administration.annotate("KEY", administration.describe("KEY"), {"owner": "payments"})
    rotation().rotate(Value(NEW.encode()))
    annotations = administration.describe("KEY").annotations
    assert (annotations["owner"], set(annotations)) == ("payments", {"owner", ANNOTATION})


@pytest.mark.parametrize("text", ["{", "[]", '{"action": "rotate"}'])
def test_a_mark_that_is_not_understood_stops_it(rotation, administration, text):
    administration.annotate("KEY", administration.describe("KEY"), {ANNOTATION: text})
    with pytest.raises(RotationStopped, match="KEY: its annotation pgp-config-rotation"):
        rotation().rotate(Value(NEW.encode()))


# -- rollback ----------------------------------------------------------------------------------


@pytest.fixture
def rotated(rotation, processes):
    processes.have(1)
    rotation().rotate(Value(NEW.encode()))


def test_a_rollback_serves_the_old_value_as_a_new_version(rotated, rotation, administration):
    made = rotation()
    outcome = made.rollback()
    assert (outcome.action, outcome.state) == ("rollback", "done")
    assert (outcome.old, outcome.new, outcome.old_state) == (2, 3, "disabled")
    assert states(administration) == {1: "disabled", 2: "disabled", 3: "enabled"}
    assert payload(administration) == OLD  # also for a process that starts now
    assert made.told[:4] == [
        "Enabled version 1, to read its value.",
        "Added version 3.",
        "Disabled version 2.",
        made.told[3],
    ]
    assert CANARY not in str(made.told)


@pytest.mark.parametrize(("at", "after"), list(itertools.product(range(8), [False, True])))
def test_a_rollback_interrupted_at_any_step_goes_on(rotated, rotation, administration, at, after):
    interrupting = Interrupting(administration, at, after=after)
    with pytest.raises(KeyboardInterrupt):
        rotation(administration=interrupting).rollback()
    outcome = rotation().rollback()
    assert (outcome.state, outcome.old, outcome.new) == ("done", 2, 3)
    assert states(administration) == {1: "disabled", 2: "disabled", 3: "enabled"}
    assert payload(administration) == OLD


def test_there_are_eight_steps_of_a_rollback_to_interrupt(rotated, rotation, administration):
    counting = Interrupting(administration)
    rotation(administration=counting).rollback()
    assert counting.calls == 8  # mark, mark, enable, add, mark, disable, disable, mark


def test_a_rotation_under_way_is_rolled_back(rotation, administration, processes):
    processes.have(1)
    made = rotation()
    made._sleep = interrupt
    with pytest.raises(KeyboardInterrupt):
        made.rotate(Value(NEW.encode()))
    outcome = rotation().rollback()
    assert (outcome.state, states(administration)) == (
        "done",
        {1: "enabled", 2: "disabled", 3: "enabled"},
    )


def test_one_that_was_added_and_not_noted_is_rolled_back_too(rotation, administration, processes):
    processes.have(1)
    interrupting = Interrupting(administration, 1, after=True)
    with pytest.raises(KeyboardInterrupt):
        rotation(administration=interrupting).rotate(Value(NEW.encode()))
    assert rotation().rollback().new == 3


def test_one_that_added_nothing_is_forgotten(rotation, administration):
    interrupting = Interrupting(administration, 0, after=True)
    with pytest.raises(KeyboardInterrupt):
        rotation(administration=interrupting).rotate(Value(NEW.encode()))
    outcome = rotation().rollback()
    assert (outcome.state, outcome.new) == ("done", None)
    assert administration.describe("KEY").annotations == {}
    assert states(administration) == {1: "enabled"}


def test_a_change_made_by_hand_is_rolled_back(rotation, administration, processes, secret_manager):
    secret_manager.add("KEY", NEW)
    processes.have(2)
    assert rotation().rollback().new == 3
    assert payload(administration) == OLD


def test_done_again_a_rollback_does_nothing(rotated, rotation, administration):
    rotation().rollback()
    made = rotation()
    assert made.rollback().state == "done"
    assert made.told == ["It was rolled back already: version 3 is served."]
    assert len(states(administration)) == 3


def test_after_a_rollback_one_can_rotate_and_roll_back_again(rotated, rotation, administration):
    rotation().rollback()
    assert rotation().rotate(Value(f"{CANARY}-third".encode())).new == 4
    assert rotation().rollback().new == 5
    assert payload(administration) == OLD


def test_a_change_by_hand_after_a_rollback_is_rolled_back_as_such(
    rotated, rotation, administration, secret_manager
):
    rotation().rollback()
    secret_manager.add("KEY", f"{CANARY}-byhand")
    assert rotation().rollback().new == 5
    assert payload(administration) == OLD


def test_a_rollback_waits_for_its_uptake(rotated, rotation, administration, processes):
    processes.have(2)
    outcome = rotation(follow=False).rollback()
    assert (outcome.state, outcome.old_state) == ("waiting", "disabled")
    assert states(administration)[1] == "enabled"
    with pytest.raises(RotationStopped, match="a rollback from version 2 is under way"):
        rotation().rotate(Value(NEW.encode()))
    processes.have(3)
    assert rotation().rollback().state == "done"
    assert states(administration)[1] == "disabled"


def test_there_is_nothing_to_go_back_to(rotation, secret_manager):
    with pytest.raises(RotationStopped, match="there is no version to go back to"):
        rotation().rollback()
    secret_manager.add("KEY", NEW)
    secret_manager.destroy("KEY", 1)
    with pytest.raises(RotationStopped, match="there is no version to go back to"):
        rotation().rollback()


def test_what_was_added_after_the_rotation_is_not_undone_silently(
    rotated, rotation, secret_manager
):
    secret_manager.add("KEY", f"{CANARY}-byhand")
    with pytest.raises(RotationStopped, match="version 3 was added after version 2"):
        rotation().rollback()


def test_what_others_have_changed_can_be_forgotten(rotation, administration, secret_manager):
    administration.annotate("KEY", administration.describe("KEY"), {"owner": "payments"})
    interrupting = Interrupting(administration, 1, after=True)
    with pytest.raises(KeyboardInterrupt):
        rotation(administration=interrupting).rotate(Value(NEW.encode()))
    secret_manager.add("KEY", f"{CANARY}-theirs")
    for stuck in (lambda: rotation().rotate(None), rotation().rollback):
        with pytest.raises(RotationStopped, match="--forget"):
            stuck()
    outcome = rotation().forget()
    assert (outcome.action, outcome.state) == ("forget", "done")
    assert administration.describe("KEY").annotations == {"owner": "payments"}
    assert set(states(administration).values()) == {"enabled"}
    assert rotation(store=None).rotate(Value(f"{CANARY}-mine".encode())).new == 4


def test_there_may_be_nothing_to_forget(rotation, administration, processes):
    made = rotation()
    assert made.forget().state == "done"
    assert made.told == ["No rotation is under way, and there is nothing to forget."]
    processes.have(1)
    rotation().rotate(Value(NEW.encode()))
    made = rotation()
    made.forget()
    assert made.told == [
        "The last rotation, which is finished, is forgotten; no version was changed."
    ]


def test_what_is_not_understood_can_be_forgotten(rotation, administration):
    administration.annotate("KEY", administration.describe("KEY"), {ANNOTATION: "{"})
    made = rotation()
    made.forget()
    assert made.told == ["The rotation is forgotten; no version was changed."]
    assert administration.describe("KEY").annotations == {}


@pytest.mark.parametrize("wait", [True, False])
def test_a_static_secret_that_nobody_reports_is_waited_for_only_when_told_to(
    rotation, secret_manager, clock, wait
):
    secret_manager.add("SIGNING_KEY", OLD)
    began = clock()
    made = rotation(
        "SIGNING_KEY", declarations=declared("SIGNING_KEY"), follow=False, wait_for_restarts=wait
    )
    assert made.rotate(Value(NEW.encode())).state == "unknown"
    assert clock() - began == (20 if wait else 0)


# -- plan --------------------------------------------------------------------------------------


def test_a_plan_changes_nothing_and_says_what_would_be_done(
    rotation, administration, secret_manager, processes
):
    processes.have(1)
    processes.have(1, "host-2")
    secret_manager.calls.reset()
    plan = rotation().plan()
    assert (plan.old, plan.new, plan.resumes) == (1, 2, False)
    assert plan.steps == (
        "check the value against its type",
        "add it as version 2",
        "wait until every process has version 2 and none holds version 1",
        "disable version 1 under its etag",
    )
    assert (plan.accesses, plan.billed, plan.adds, plan.dollars_a_month) == (1, 1, 1, 0.12)
    assert plan.dollars == pytest.approx(0.000003)
    assert plan.audience == (("split2", 2),)
    assert {call.method for call in secret_manager.calls.log()} == {
        "GetSecret",
        "ListSecretVersions",
        "TestIamPermissions",
    }


def test_a_plan_of_one_that_was_interrupted_says_what_is_left(rotation, processes):
    processes.have(1)
    made = rotation()
    made._sleep = interrupt
    with pytest.raises(KeyboardInterrupt):
        made.rotate(Value(NEW.encode()))
    plan = rotation(keep_old=True).plan()
    assert (plan.old, plan.new, plan.resumes, plan.adds) == (1, 2, True, 0)
    assert plan.steps == (
        "wait until every process has version 2 and none holds version 1",
        "leave version 1 enabled; --disable-old disables it",
    )
    assert rotation(store=None).plan().audience is None


def test_the_plan_of_a_first_version_waits_for_nobody(rotation, secret_manager):
    secret_manager.create("FRESH")
    assert rotation("FRESH").plan().steps == (
        "check the value against its type",
        "add it as version 1",
    )


def test_a_plan_of_a_rollback(rotated, rotation, administration):
    plan = rotation().plan(rollback=True)
    assert (plan.action, plan.old, plan.new, plan.resumes) == ("rollback", 2, 3, False)
    assert plan.steps == (
        "enable version 1 under its etag, to read its value",
        "add the value of version 1 as version 3",
        "disable version 2 under its etag",
        "wait until every process has version 3 and none holds version 2",
        "disable version 1 again",
    )
    made = rotation()
    made._sleep = interrupt
    with pytest.raises(KeyboardInterrupt):
        made.rollback()
    plan = rotation().plan(rollback=True)
    assert (plan.resumes, plan.steps) == (
        True,
        (
            "wait until every process has version 3 and none holds version 2",
            "disable version 1 again",
        ),
    )
    rotation().rollback()
    assert rotation().plan(rollback=True).steps == ()


def test_a_plan_of_a_rollback_of_what_is_enabled(rotation, secret_manager):
    secret_manager.add("KEY", NEW)
    assert rotation().plan(rollback=True).steps[0] == "add the value of version 1 as version 3"
    assert len(rotation().plan(rollback=True).steps) == 3


def test_a_plan_of_forgetting(rotation, administration):
    with pytest.raises(KeyboardInterrupt):
        rotation(administration=Interrupting(administration, 0, after=True)).rotate(
            Value(NEW.encode())
        )
    assert rotation().plan(rollback=True).steps == ("forget the rotation: nothing was added",)


def test_a_plan_says_what_would_stop_it(rotation):
    with pytest.raises(RotationStopped, match="KEY: there is no version to go back to"):
        rotation().plan(rollback=True)


def test_it_works_in_memory_too(store, entry, clock):
    memory = Memory({"KEY": OLD})
    store.report([entry(version=2)])
    options = Options(settle=0.0, timeout=0.0)
    rotation = Rotation(administration_of(memory), "KEY", store=store, options=options)
    assert rotation.rotate(Value(NEW.encode())).old_state == "disabled"
    assert rotation.rollback().state == "waiting"
