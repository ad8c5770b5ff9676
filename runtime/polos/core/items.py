"""The items of the one table: their keys and attribute names. The only module that spells a storage name.

An execution's partition (pk = execution id, which never contains '#'):

    x                  the execution: status, lease, epoch, wake count, and what a start said
    p#in#DIGEST        the payload, where it is over 500 bytes; p#out#EPOCH the result, p#state#EPOCH the final state
    p#next#EPOCH       the payload of the successor, after continue_as_new
    r#KEY              the record of a step: decided, armed (a wait with a due time) or between two attempts
    u#KEY              what somebody resumed a step with; the owner decides the step by it
    s#KEY              a started-mark: child started, suspend shown, at_most_once body begun
    b#KEY#INDEX        the outcome of one child of a batch
    o#BRANCH#TICK      the order in which outcomes were observed, where several were open (branch 1: after a cancel)
    f#KEY#GEN#SHARD    fan-in: the children of a batch that have ended, by the parent's retry generation
    e#EPOCH#INDEX      waits for events that the execution item has no room to show; it names the epoch
    v#EXECUTION        a descendant that has been open for long: until it expires the id is not free again

    t#TOPIC            e#SEQUENCE#EVENT-ID  an event          w#EXECUTION#KEY  an execution that waits for one
    q#QUEUE#KEY        slots  who holds a slot                w#PRIORITY#TIME#EXECUTION  who waits for one
    c#WORKFLOW#KEY     schedule  the last ticks of a schedule, those that started and those that were skipped

    h#                 paused  the queues and workflows that are paused, each with the number of its pause
    h#NUMBER           w#TIME#EXECUTION  an execution that waits for the end of one pause

    l#                 first  the first month that a listing need look at

    g#WORKFLOW         collector  the next batch of events   e#SEQUENCE#EVENT-ID  an event waits for its batch
    d#WORKFLOW#EVENT-ID  event  an event for a batch, and which batch took it
    g#                 w#WORKFLOW  a workflow whose batches have had events with a payload beside the table

Every time is an integer of milliseconds since 1970 in UTC. Laws: L1, L12, L13 (who may write what is in engine/ledger).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

from polos.core.conditions import Item, Value

PK: Final = "pk"
SK: Final = "sk"
EXECUTION: Final = "x"
INPUT_PREFIX: Final = "p#in#"

# the execution item
STATUS: Final = "st"
WORKFLOW: Final = "wf"
CREATED: Final = "cr"
STARTED: Final = "sa"
ENDED: Final = "en"
EPOCH: Final = "ep"
LEASE_TOKEN: Final = "lt"
LEASE_MESSAGE: Final = "lm"
LEASE_UNTIL: Final = "lu"
WAKE: Final = "wk"
SPENT: Final = "sp"
PROGRESS: Final = "pg"
RAN: Final = "rn"
CANCEL: Final = "cx"
CANCEL_AT: Final = "ca"
STRUCK: Final = "cs"
NOT_BEFORE: Final = "nb"
DELAYED_DEATHS: Final = "dd"
RETRIES: Final = "rc"
RERUN_AFTER: Final = "ra"
UNTAKEN: Final = "ut"
GENERATION: Final = "gn"
FINISHER: Final = "ft"
WAITING_FOR: Final = "wt"
WAITING_MORE: Final = "wm"
WAITING_SK: Final = "wq"
START: Final = "so"
INPUT: Final = "in"
RESULT: Final = "re"
FINAL_STATE: Final = "fs"
NEXT: Final = "nx"
LINK: Final = "nl"
LINK_GENERATION: Final = "ng"
PAUSED: Final = "pz"
PAUSE: Final = "pn"
LIMIT_FROM: Final = "lf"
LIMIT_ARMED: Final = "li"
DROPPED: Final = "dr"
HANDED_BACK: Final = "hb"
UNREAD: Final = "ur"
REDRIVEN: Final = "dl"
KEPT_UNTIL: Final = "ku"
TRACED: Final = "tt"
BUCKET: Final = "gb"
BUCKET_SORT: Final = "gs"
TTL: Final = "ttl"

# records and marks
STATE: Final = "st"
KIND: Final = "k"
VALUE: Final = "v"
POINTER: Final = "vp"
FAILURE: Final = "e"
WRITER: Final = "w"
DUE: Final = "du"
ATTEMPTS: Final = "n"
AT: Final = "at"
NOTED: Final = "nt"
ASKED: Final = "nr"
BEGAN: Final = "bg"
EVENT_ID: Final = "ev"
TOPIC: Final = "tp"
CHILD: Final = "ch"
DATA: Final = "d"
TICKS: Final = "tk"
KEYS: Final = "ks"
MEMBERS: Final = "ms"

# events, waiters, slots, schedules
EVENT_TYPE: Final = "ty"
SEQUENCE: Final = "sq"
LIMIT_COUNT: Final = "n"
COUNT: Final = "ct"
LAST_TICK: Final = "la"
LAST_BEFORE: Final = "lb"
LAST_EXECUTION: Final = "le"
FIRST_MONTH: Final = "fm"
SKIPPED: Final = "ss"
EXECUTION_ID: Final = "x"
STEP_KEY: Final = "sk_"

# batches of events
BATCH: Final = "bn"
WAKE_SENT: Final = "ws"

# values of STATE
DECIDED: Final = "o"
ARMED: Final = "a"
RETRYING: Final = "r"

SLOTS: Final = "slots"
"""The sort key of the item that counts who holds a slot."""

INDEX: Final = "by_start"
SHARDS: Final = 8


class Key(NamedTuple):
    """The full key of one item."""

    pk: str
    sk: str


def beside(what: str, epoch: int) -> str:
    """The sort key of what an end writes beside the execution item: its "out" (result), "state" or "next" payload.

    It is written before the end, unfenced; under the writer's own epoch it can't replace that of another who finished.
    """
    return f"p#{what}#{epoch}"


def result_sk(item: Mapping[str, Value]) -> str:
    """Where the result of an ended execution is if it is not on the execution item."""
    return beside("out", number(item, EPOCH))


def state_sk(item: Mapping[str, Value]) -> str:
    """Where the final state of an ended execution is if it is not on the execution item."""
    return beside("state", number(item, EPOCH))


def next_sk(item: Mapping[str, Value]) -> str:
    """Where the payload of the successor of an ended execution is."""
    return beside("next", number(item, EPOCH))


def execution(execution_id: str) -> Key:
    return Key(execution_id, EXECUTION)


def record(execution_id: str, step_key: str) -> Key:
    return Key(execution_id, f"r#{step_key}")


def mark(execution_id: str, step_key: str) -> Key:
    return Key(execution_id, f"s#{step_key}")


def resumption(execution_id: str, step_key: str) -> Key:
    return Key(execution_id, f"u#{step_key}")


def batch_outcome(execution_id: str, step_key: str, index: int) -> Key:
    return Key(execution_id, f"b#{step_key}#{index:06d}")


def fan_in(execution_id: str, step_key: str, generation: int, shard: str) -> Key:
    return Key(execution_id, f"f#{step_key}#{generation}#{shard}")


def outliving(execution_id: str, descendant_id: str) -> Key:
    """After everything else in the partition but the execution itself, so that who looks at the last item sees it."""
    return Key(execution_id, f"v#{descendant_id}")


def listed(execution_id: str, epoch: int, index: int | None = None) -> Key:
    """A list of waits for events that was written under an epoch; without an index, how the keys of them all begin."""
    return Key(execution_id, f"e#{epoch}#" + ("" if index is None else f"{index:04d}"))


def order(execution_id: str, branch: int, tick: int) -> Key:
    return Key(execution_id, f"o#{branch}#{tick:06d}")


def topic(name: str) -> str:
    return f"t#{name}"


def event_sk(sequence: int, event_id: str) -> str:
    return f"e#{sequence:020d}#{event_id}"


def waiter_sk(execution_id: str, step_key: str) -> str:
    return f"w#{execution_id}#{step_key}"


def queue(name: str, concurrency_key: str) -> str:
    """Where the slots of a queue and key are. A '#' in the name must not be taken for the one that ends it."""
    length = f"#{len(name)}#" if "#" in name else ""
    return f"q#{length}{name}#{concurrency_key}"


CONTROLS: Final = Key("h#", "paused")
"""The item that names what is paused."""


def hold(number: str) -> str:
    """The line of those that wait for the end of one pause."""
    return f"h#{number}"


LISTING: Final = Key("l#", "first")
"""The item that says before which month there is nothing to list."""


def schedule(workflow_id: str, key: str) -> Key:
    return Key(f"c#{workflow_id}#{key}", "schedule")


def collector(workflow_id: str) -> Key:
    return Key(f"g#{workflow_id}", "collector")


def gathering(workflow_id: str) -> Key:
    """Says to whoever keeps payloads from expiring where events may wait for long."""
    return Key("g#", f"w#{workflow_id}")


def gathered(workflow_id: str, event_id: str) -> Key:
    """An event that is kept for a batch. Partitions of their own, so that a busy workflow's is not written for each."""
    return Key(f"d#{workflow_id}#{event_id}", "event")


def event_id_in(sk: str) -> str:
    """The id of the event that `event_sk` made a sort key of."""
    return sk[len(event_sk(0, "")) :]


def text(item: Mapping[str, Value], name: str, default: str = "") -> str:
    return cast("str", item.get(name, default))


def number(item: Mapping[str, Value], name: str, default: int = 0) -> int:
    return cast("int", item.get(name, default))


def strings(item: Mapping[str, Value], name: str) -> list[str]:
    return cast("list[str]", item.get(name, []))


def numbers(item: Mapping[str, Value], name: str) -> list[int]:
    return cast("list[int]", item.get(name, []))


def document(item: Mapping[str, Value], name: str) -> dict[str, Any]:
    """A JSON object kept as text in an attribute; {} if it is missing."""
    raw = item.get(name)
    return json.loads(raw) if isinstance(raw, str) else {}


def as_document(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def keyed(key: Key, attributes: Mapping[str, Value]) -> Item:
    return {PK: key.pk, SK: key.sk, **attributes}
