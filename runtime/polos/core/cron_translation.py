"""A cron schedule in the syntax of EventBridge Scheduler.

Owns the differences between the two syntaxes and nothing else: what the expression means is decided in `core.cron`.
The facts come from the EventBridge Scheduler User Guide, "Schedule types", section "Cron-based schedules"
(https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html): exactly one day field is `?`, weekdays
count from 1, Sunday; `3#2` is the second Tuesday and stands alone in its field; `6L` is the last Friday.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from polos.core.cron import LAST, CronFields, CronSchedule

_WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LONGEST = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


def translate(schedule: CronSchedule) -> tuple[str, ...]:
    """The Scheduler expressions that tick, taken together and in `schedule.timezone`, exactly when `schedule` does.

    Usually one. Two when day-of-month and day-of-week are both restricted, and one more for each `L` in a list and
    each further numbered weekday (`1#1,3#2`), which Scheduler does not take in a list. They may tick at the same
    instant; whoever receives the ticks makes one of them. Every schedule can be translated: the longest expression has
    240 characters, where Scheduler takes 256 (CreateSchedule, ScheduleExpression).
    """
    fields = schedule.fields
    minutes, hours = _series(fields.minutes, 0, 59), _series(fields.hours, 0, 23)
    months = _series(fields.months, 1, 12)
    return tuple(
        f"cron({minutes} {hours} {day_of_month} {months} {day_of_week} *)"
        for day_of_month, day_of_week in _day_fields(fields)
    )


def _day_fields(fields: CronFields) -> Iterator[tuple[str, str]]:
    """The pairs of day-of-month and day-of-week whose days, taken together, are those of `fields`."""
    every_weekday = fields.weekdays is not None and len(fields.weekdays) == len(_WEEKDAYS)
    every_date = fields.days is not None and fields.days >= set(range(1, 32))
    if fields.every_day or every_weekday or every_date:
        yield "*", "?"
        return
    # The 31st in months that do not have one adds nothing, and Scheduler may refuse what can never occur.
    longest = max(_LONGEST.get(month, 31) for month in fields.months)
    dates = {day for day in fields.days or () if day != LAST and day <= longest}
    if dates:
        yield _series(dates, 1, 31), "?"
    if fields.days is not None and LAST in fields.days:
        yield "L", "?"
    if fields.weekdays is not None:
        yield "?", _runs(fields.weekdays, _WEEKDAYS)
    for weekday, ordinal in sorted(fields.ordinals):
        yield "?", f"{weekday + 1}L" if ordinal == LAST else f"{weekday + 1}#{ordinal}"


def _series(values: Iterable[int], lowest: int, highest: int) -> str:
    """`*`, `start/step` where the values go on in equal steps to the end of the field, else values and ranges."""
    ordered = sorted(values)
    if ordered == list(range(lowest, highest + 1)):
        return "*"
    if len(ordered) > 2:
        step = ordered[1] - ordered[0]
        if step > 1 and ordered == list(range(ordered[0], highest + 1, step)):
            return f"{ordered[0]}/{step}"
    return _runs(ordered)


def _runs(values: Iterable[int], names: tuple[str, ...] = ()) -> str:
    """Values as a list, three or more in a row as a range: `1-5,8,9`."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    parts: list[str] = []
    for run in runs:
        shown = [names[value] if names else str(value) for value in run]
        parts += [f"{shown[0]}-{shown[-1]}"] if len(run) > 2 else shown
    return ",".join(parts)
